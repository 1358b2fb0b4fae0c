"""What another machine may make of the same numbers: it adds up in another order. Beyond that a figure differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.results import MAX_REGIONS, Region, regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 1e-4
"""Difference of scores that is accepted at least: another processor adds up in another order."""
ROUNDING = 1e-6
"""Of the mean over a region of one and the same heatmap."""


class Allowance:
    """How far one model's figures may be from those of a record, and are the same."""

    def __init__(self, tolerances: tuple[float, float]) -> None:
        self.score, self.heatmap = tolerances

    def settle(
        self,
        then: Mapping[str, Any],
        now: dict[str, Any],
        heatmap: NDArray[np.float32] | None,  # [H, W] in [0, 1]
        *,
        is_steady: bool,
    ) -> None:
        """Write the recorded figure over each of ``now`` that it may well have been: a result, made from ``heatmap``.

        On the machine of the record (``is_steady``) a heatmap from which all figures are the same is the same.
        """
        figures = ("score", "mask_share", "regions", "members")
        if then["heatmap_sha256"] == now["heatmap_sha256"]:  # and so is all that is made from it
            if near(then["regions"], now["regions"], ROUNDING):
                now["regions"] = then["regions"]
            return
        if not is_steady or any(then[name] != now[name] for name in figures):
            now["heatmap_sha256"] = then["heatmap_sha256"]
        for name in ("score", "members"):
            if near(then[name], now[name], self.score):
                now[name] = then[name]
        if heatmap is not None and then["mask_share"] is not None:
            self._settle_mask(then, now, heatmap)

    def _settle_mask(self, then: Mapping[str, Any], now: dict[str, Any], heatmap: NDArray[np.float32]) -> None:
        level = now["mask_threshold"]
        perhaps = heatmap >= level - self.heatmap
        surely = np.count_nonzero(heatmap >= level + self.heatmap)
        if surely / heatmap.size <= then["mask_share"] <= np.count_nonzero(perhaps) / heatmap.size:
            now["mask_share"] = then["mask_share"]
        is_whole = len(then["regions"]) == MAX_REGIONS or all(
            any(_holds(each, region) for each in then["regions"]) for region in regions(heatmap, level + self.heatmap)
        )
        if is_whole and all(self._may_be(each, perhaps, heatmap, level) for each in then["regions"]):
            now["regions"] = then["regions"]

    def _may_be(
        self, region: Mapping[str, Any], perhaps: NDArray[np.bool_], heatmap: NDArray[np.float32], level: float
    ) -> bool:
        """Whether so many pixels, of such a mean, can have been in the mask within the box."""
        rows, columns = slice(region["y0"], region["y1"]), slice(region["x0"], region["x1"])
        within = perhaps[rows, columns]
        if within.shape != (region["y1"] - region["y0"], region["x1"] - region["x0"]):
            return False  # beyond the frame
        inside = heatmap[rows, columns][within]
        if not 0 < region["area"] <= inside.size:
            return False
        return bool(level - ROUNDING <= region["probability"] <= float(inside.max()) + self.heatmap)


def _holds(region: Mapping[str, Any], other: Region) -> bool:
    """Whether the box of ``region`` holds that of ``other``."""
    begins = region["x0"] <= other.x0 and region["y0"] <= other.y0
    return bool(begins and region["x1"] >= other.x1 and region["y1"] >= other.y1)


def near(then: Any, now: Any, tolerance: float) -> bool:  # noqa: ANN401  JSON
    """Whether both are the same, but for numbers that are no further apart than ``tolerance``."""
    if isinstance(then, dict) and isinstance(now, dict):
        return then.keys() == now.keys() and all(near(then[name], now[name], tolerance) for name in then)
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(near(*pair, tolerance) for pair in zip(then, now, strict=True))
    if isinstance(then, float) and isinstance(now, float):
        return abs(then - now) <= tolerance
    return bool(then == now) and type(then) is type(now)
