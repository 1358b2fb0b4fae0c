"""All-centre control: falls off with the distance from the middle, because forgers like the middle.

A map that looks at no pixel. What exceeds it was found; what does not may be photographers' habit (Tatler, "The central
fixation bias in scene viewing", Journal of Vision 2007, has the same control for maps of attention).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """1 in the middle of [H, W], 0 in the corners, by the distance in units of the sides."""
    height, width = frame.shape[:2]
    y, x = np.ogrid[:height, :width]
    distance = np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width)
    return (1 - distance / max(float(distance.max()), 1e-9)).astype(np.float32)
