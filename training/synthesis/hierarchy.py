"""The manipulations that ManTra-Net's extractor is taught to tell apart, and the tree that they are the leaves of.

Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 3.2. The paper counts 385 leaves and prints none; the
authors' figure shows 380, which are listed here in its order, by family, operation and parameter. Below an operation
every level halves its leaves: sixteens, eights, fours, pairs and single ones. The figure counts 7, 27, 49, 96, 191 and
380 nodes per level. Five more are ours, a family of their own: no manipulation at all, and four of sharpening, which
the figure lacks and editors offer first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = (16, 8, 4, 2, 1)
"""Leaves of one operation in a node of levels 1 to 5; level 0 is the family."""
LEVELS = len(GROUPS) + 1
OURS = "other"
"""Family of the leaves that are not in the figure."""

DOUBLE_JPEG = """
95/40 36/74 95/57 61/65 70/100 95/65 53/74 87/100 78/57 87/48 95/100 70/65 78/40 78/48 87/65 53/40
61/57 87/57 95/82 70/91 53/57 61/40 61/74 44/48 87/40 95/91 70/82 87/82 87/91 53/65 36/48 44/74
36/100 61/91 36/65 53/48 53/82 36/57 78/100 78/74 53/91 70/57 87/74 61/48 70/40 95/48 78/91 44/40
78/65 36/40 53/100 44/100 36/91 36/82 70/74 61/100 61/82 44/82 78/82 44/57 44/65 95/74 70/48 44/91
"""
"""Qualities of the first and the second JPEG, in the figure's order."""

FAMILIES: dict[str, dict[str, tuple[float | tuple[float, ...], ...]]] = {
    "blur": {
        "box blur": (29, 11, 13, 15, 17, 19, 25, 27, 21, 23, 3, 7, 5, 9, 33, 31),
        "Gaussian blur": (33, 31, 5, 7, 3, 9, 11, 13, 15, 17, 19, 29, 21, 23, 25, 27),
        "median blur": (21, 23, 25, 27, 29, 19, 15, 17, 11, 13, 9, 3, 7, 5, 33, 31),
        "wavelet blur": (3, 5, 9, 7),
    },
    "resampling": {
        "area": (0.95, 0.73, 0.79, 0.36, 0.31, 0.89, 0.84, 0.63, 0.68, 0.25, 0.2, 0.57, 0.52, 0.15, 0.41, 0.47),
        "cubic": (0.36, 0.68, 0.63, 0.84, 0.89, 0.31, 0.79, 0.73, 0.95, 0.47, 0.41, 0.15, 0.57, 0.52, 0.25, 0.2),
        "Lanczos": (0.36, 0.31, 0.79, 0.73, 0.47, 0.41, 0.89, 0.84, 0.15, 0.52, 0.57, 0.25, 0.2, 0.68, 0.63, 0.95),
        "linear": (0.41, 0.47, 0.95, 0.73, 0.79, 0.36, 0.31, 0.84, 0.63, 0.68, 0.25, 0.2, 0.57, 0.52, 0.89, 0.15),
        "nearest": (0.95, 0.2, 0.25, 0.31, 0.79, 0.73, 0.36, 0.41, 0.47, 0.52, 0.57, 0.84, 0.89, 0.15, 0.63, 0.68),
    },
    "compression": {
        "JPEG": (57, 53, 91, 95, 61, 65, 36, 100, 74, 70, 78, 48, 44, 40, 82, 87),
        "double JPEG": tuple(tuple(int(quality) for quality in pair.split("/")) for pair in DOUBLE_JPEG.split()),
        "WebP": (53, 87, 82, 100, 65, 61, 95, 91, 36, 57, 78, 70, 74, 40, 44, 48),
    },
    "morphology": {
        "close": (19, 16, 14, 12, 10, 27, 23, 21, 25, 29, 34, 31, 6, 4, 2, 8),
        "dilate": (21, 23, 25, 27, 19, 14, 16, 10, 12, 29, 31, 34, 8, 2, 4, 6),
        "erode": (16, 31, 34, 21, 23, 25, 27, 29, 8, 2, 6, 4, 19, 14, 10, 12),
        "open": (10, 12, 14, 16, 19, 21, 23, 25, 27, 2, 6, 4, 8, 31, 34, 29),
    },
    "noise": {
        "Gaussian noise": (3, 7, 5, 9, 30, 32, 35, 22, 20, 26, 24, 28, 17, 15, 13, 11),
        "impulse noise": (13, 11, 17, 15, 9, 3, 5, 7, 28, 26, 24, 22, 20, 30, 32, 35),
        "Poisson noise": (24, 26, 20, 22, 28, 3, 7, 5, 9, 35, 32, 30, 15, 17, 11, 13),
        "uniform noise": (35, 30, 32, 7, 5, 3, 9, 13, 11, 17, 15, 28, 26, 24, 22, 20),
    },
    "quantisation": {
        "quantisation": (50, 125, 225, 175, 100, 200, 150, 75),
        "dithering": ((),),
    },
    "contrast": {
        "automatic contrast": (2, 3, 0, 1, 6, 7, 4, 5),
        "histogram equalisation": (7, 6, 5, 4, 3, 2, 1),
    },
    OURS: {
        "none": ((),),
        "sharpening": (0.5, 1, 1.5, 2),
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leaf:
    """One manipulation with its parameters."""

    family: str
    operation: str
    parameters: tuple[float, ...]
    place: int
    """Which of its operation's leaves it is, in the figure's order."""

    def node(self, level: int) -> tuple[str, str, int]:
        """Name of the node that it belongs to at ``level``, 0 to 5."""
        return (self.family, "", 0) if level == 0 else (self.family, self.operation, self.place // GROUPS[level - 1])


LEAVES = tuple(
    Leaf(family, operation, parameters if isinstance(parameters, tuple) else (parameters,), place)
    for family, operations in FAMILIES.items()
    for operation, leaves in operations.items()
    for place, parameters in enumerate(leaves)
)
"""All 385, the 380 of the figure first."""


def classes(level: int) -> NDArray[np.int64]:  # [385]
    """Class of every leaf at ``level``, counted from 0 in the order of the leaves; level 5 tells all apart."""
    if not 0 <= level < LEVELS:
        raise ValueError(f"level is {level}\n  -> use 0 (families) to {LEVELS - 1} (every parameter by itself)")
    numbers: dict[tuple[str, str, int], int] = {}
    return np.array([numbers.setdefault(leaf.node(level), len(numbers)) for leaf in LEAVES], np.int64)
