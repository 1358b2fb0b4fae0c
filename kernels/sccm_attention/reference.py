"""The meaning of ``sccm_attention`` in float64 NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]


def softmax(logits: Features) -> Features:
    """Softmax over the last axis, its maximum subtracted first."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def sccm_attention(
    theta: Features,  # [B, C', N]
    phi: Features,  # [B, C', N]
    g: Features,  # [B, C', N]
) -> tuple[Features, Features]:  # [B, N, C'] each: spatial, channel
    """Spatial and channel correlation of one SCCM block, after its 1x1 convolutions.

    With positions n, m and channels i, j,

        spatial[n] = sum_m softmax_m(theta[:, n] . phi[:, m]) g[:, m]
        channel[n, j] = sum_i g[i, n] softmax_j(theta[i] . phi[j])

    The spatial product is attention without the 1/sqrt(C') of transformers. The channel product is not attention: its
    softmax is normalised over j and summed over i, so the weights of a sum do not add up to 1.

    Source: Liu, Liu, Chen, Liu, "PSCC-Net", equations 2 to 4, and the authors' code; equation 3 prints g where the text
    and the code use theta, and so do we. The transpose that brings either product back to ``[B, C', N]`` is the
    caller's: the authors' code has it in the spatial branch only.
    """
    spatial = softmax(theta.transpose(0, 2, 1) @ phi) @ g.transpose(0, 2, 1)
    channel = g.transpose(0, 2, 1) @ softmax(theta @ phi.transpose(0, 2, 1))
    return spatial, channel
