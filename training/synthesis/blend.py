"""How a pasted region meets its surroundings; pixels outside the region never change."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame, Mask, between, pick


def paste(base: Frame, patch: Frame, mask: Mask, rng: np.random.Generator) -> tuple[Frame, str]:
    """``base`` with ``patch`` inside ``mask`` and the name of its edge: hard, feathered, Poisson or transparent."""
    edge = pick(rng, {"hard": 0.45, "feathered": 0.3, "poisson": 0.15, "transparent": 0.1})
    if edge == "poisson" and (cloned := poisson(base, patch, mask)) is not None:
        return cloned, edge
    if edge == "feathered":
        return mix(base, patch, feather(mask, width=between(rng, 1, 5))), edge
    if edge == "transparent":
        return mix(base, patch, mask * np.float32(between(rng, 0.6, 0.9))), edge
    return np.where(mask[..., None], patch, base), "hard"


def feather(mask: Mask, *, width: float) -> NDArray[np.float32]:
    """Opacity that rises from the region's edge to 1 over ``width`` px inside it, and is 0 outside, [H, W]."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.minimum(distance / np.float32(width + 1), np.float32(1))


def mix(base: Frame, patch: Frame, opacity: NDArray[np.float32]) -> Frame:
    """``base + opacity * (patch - base)``, rounded; ``opacity`` is [H, W] in [0, 1]."""
    delta = (patch.astype(np.float32) - base) * opacity[..., None]
    return np.clip(np.rint(base + delta), 0, 255).astype(np.uint8)


def poisson(base: Frame, patch: Frame, mask: Mask) -> Frame | None:
    """Gradients of ``patch`` inside ``mask`` (Perez 2003).

    None where the region touches the border, which leaves the solution open, or has no interior to solve for.
    """
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    inside = ys[0] > 1 and xs[0] > 1 and ys[-1] < mask.shape[0] - 2 and xs[-1] < mask.shape[1] - 2
    if not inside or min(len(ys), len(xs)) < 4:
        return None
    centre = (int(xs[0] + xs[-1] + 1) // 2, int(ys[0] + ys[-1] + 1) // 2)
    cloned = cv2.seamlessClone(patch, base, mask.astype(np.uint8) * 255, centre, cv2.NORMAL_CLONE)
    return np.where(mask[..., None], cloned, base)
