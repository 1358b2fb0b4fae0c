"""Random control: every pixel drawn for itself, the same for the same frame; no citation, AUC is 0.5 but for chance.

What it gets by a metric is what that metric gives for nothing: AP and best F1 of a guess are the share of manipulated
pixels and more, not 0.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """Uniform in [0, 1), [H, W], seeded by the frame's bytes."""
    seed = zlib.crc32(np.ascontiguousarray(frame).tobytes())
    return np.random.default_rng(seed).random(frame.shape[:2], np.float32)
