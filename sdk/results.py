"""What one model found in one frame."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sdk import overlay
from sdk.errors import BadFrame
from sdk.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.engines.resident import Resident

SCHEMA = Path(__file__).with_name("analysis.schema.json")
"""JSON schema of what :meth:`Analysis.to_json` writes."""

MAX_REGIONS = 100
"""Regions reported at most, the largest first."""
MIN_REGION = 5e-4
"""Share of the frame that a region has at least, a twentieth of the smallest that models are trained to find: about
130 px of a frame of 512 x 512. Smaller parts stay in the mask and are not listed."""
EDGES = 64
"""A mask with fewer edges than one in so many pixels of its rows is outlined in half the time that labels take."""
EVERY = 8
"""One in so many rows is looked at for that."""


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """A connected part of the mask."""

    x0: int
    y0: int
    x1: int
    """First column to the right of it, px."""
    y1: int
    """First row below it, px."""
    area: int
    """Pixels of the mask in it."""
    probability: float
    """Mean of the heatmap over these pixels, in [0, 1]."""


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Where the time went, milliseconds."""

    stages: Mapping[str, float]
    """``decode``, the graphs that were run (of a batch on ``batch`` frames at once), and ``result``: the verdict."""
    total: float
    """From the input to the result, with everything between the stages."""
    batch: int = 1

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in self.stages.items())
        return f"Latency({self.total:.1f} ms: {parts}{f'; batch of {self.batch}' if self.batch > 1 else ''})"


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """What produced a result: enough to produce it again."""

    model: str
    version: str
    status: str
    """``preview``: weights that are to be replaced; ``release``."""
    artifact: str
    """SHA-256 of the artifact, in hexadecimal."""
    backend: str
    device: str
    precision: str
    working_size: int
    """Long side at which the frame was analysed, px; 0 is its own size."""
    decoder: str
    """What made pixels of the input: decoder and version; or ``none:``, the kind of array that was given, and what its
    owner says has made it."""
    against: Mapping[str, list[str]]
    """What would have been preferred, as "backend on device", and why it was not used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What one of several models said of a frame, before their answers became one."""

    score: float
    """Its own, in [0, 1]."""
    runtime: Runtime


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Analysis:
    """What one model, or an ensemble of several, found in one frame, in display orientation."""

    pixels: NDArray[np.uint8] | Resident = dataclasses.field(repr=False)
    """The pixels that were analysed, where that was done: [H, W, 3] RGB in memory of the host, or still on a GPU."""
    heatmap: NDArray[np.float32] | None
    """Probability that a pixel was manipulated, [H, W] in [0, 1]; None if the score stayed below ``min_score``."""
    score: float
    """Probability that the frame was manipulated anywhere, in [0, 1]."""
    mask_threshold: float
    """Heatmap level from which a pixel belongs to the mask, in [0, 1]."""
    verdict: Verdict
    """What the artifact's thresholds make of the score."""
    latency: Latency
    runtime: Runtime
    orientation: int = 1
    """EXIF orientation of the input, 1..8. The stored pixels were analysed; frame and heatmap are turned upright."""
    notes: tuple[str, ...] = ()
    """What had to be done to the input before it was a frame."""
    members: Mapping[str, Member] = dataclasses.field(default_factory=dict)
    """Of an ensemble the models that ran on this frame, in order; a cascade does not ask all. Empty for one model."""

    def __post_init__(self) -> None:
        if self.heatmap is not None and self.heatmap.shape != self.pixels.shape[:2]:
            raise BadFrame(
                f"a heatmap of shape {self.heatmap.shape} does not belong to a frame of shape {self.pixels.shape}",
                remedy="give the heatmap at the frame's own size",
            )

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The pixels that were analysed, [H, W, 3] RGB; from a GPU they are copied when this is asked for."""
        return np.asarray(self.pixels)

    @property
    def localised(self) -> bool:
        """Whether there is a heatmap."""
        return self.heatmap is not None

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Pixels at or above the threshold, [H, W]."""
        return None if self.heatmap is None else self.heatmap >= self.mask_threshold

    @property
    def mask_share(self) -> float | None:
        """Share of the frame's pixels that are in the mask, in [0, 1]."""
        mask = self.mask
        return None if mask is None else int(np.count_nonzero(mask)) / mask.size

    @property
    def regions(self) -> tuple[Region, ...]:
        """The connected parts of the mask (eight neighbours) from ``MIN_REGION`` of the frame on, the largest first.

        Found anew at every access.
        """
        if self.heatmap is None:
            return ()
        return regions(self.heatmap, self.mask_threshold)

    def save_overlay(self, path: str | Path) -> Path:
        """Write frame, heatmap, outline of the mask and verdict as one picture; the suffix says which format."""
        return overlay.save(self, path)

    def to_dict(self) -> dict[str, object]:
        """Everything but the arrays, of plain types; ``Analysis`` schema of ``sdk/analysis.schema.json``."""
        height, width = self.pixels.shape[:2]
        return {
            "score": self.score,
            "verdict": {"name": self.verdict.name, "reason": self.verdict.reason, "found": self.verdict.found},
            "localised": self.localised,
            "size": {"height": height, "width": width},
            "orientation": self.orientation,
            "mask_threshold": self.mask_threshold,
            "mask_share": self.mask_share,
            "regions": [dataclasses.asdict(region) for region in self.regions],
            "latency_ms": dataclasses.asdict(self.latency),
            "runtime": dataclasses.asdict(self.runtime),
            "notes": list(self.notes),
            "members": {name: dataclasses.asdict(member) for name, member in self.members.items()},
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """:meth:`to_dict` as text, on one line unless ``indent`` says otherwise."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        mask = self.mask
        where = "not localised" if mask is None else f"mask={mask.mean():.1%} of {width}x{height}"
        preview = ", PREVIEW weights" if self.runtime.status == "preview" else ""
        model = f"{self.runtime.model} {self.runtime.version}{preview}"
        asked = f", asked {', '.join(self.members)}" if self.members else ""
        return f"Analysis({self.verdict}, score={self.score:.3f}, {where}, {self.latency.total:.1f} ms, {model}{asked})"


def regions(heatmap: NDArray[np.float32], threshold: float) -> tuple[Region, ...]:
    """Connected parts of ``heatmap >= threshold`` from ``MIN_REGION`` on, ``MAX_REGIONS`` at most."""
    mask = (heatmap >= threshold).view(np.uint8)
    least = MIN_REGION * heatmap.size
    some = mask[::EVERY]
    is_smooth = EDGES * np.count_nonzero(some[:, 1:] != some[:, :-1]) <= some.size
    found = []
    for (x, y, width, height), inside in (_outlined if is_smooth else _labelled)(mask, least):
        area = cv2.countNonZero(inside)
        if area >= least:
            probability = cv2.mean(heatmap[y : y + height, x : x + width], inside)[0]
            found.append(Region(x, y, x + width, y + height, area, probability))
    return tuple(sorted(found, key=lambda region: (-region.area, region.x0, region.y0))[:MAX_REGIONS])


def _outlined(mask: NDArray[np.uint8], least: float) -> Iterator[tuple[Sequence[int], NDArray[np.uint8]]]:
    """Box (x, y, width, height) of each connected part, if it has ``least`` pixels, and the part within it."""
    outlines, nesting = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for number, (*_, around) in enumerate(() if nesting is None else nesting[0]):
        x, y, width, height = box = cv2.boundingRect(outlines[number])
        if around < 0 and width * height >= least:  # and no hole
            inside = np.zeros((height, width), np.uint8)
            cv2.drawContours(inside, outlines, number, (1,), cv2.FILLED, cv2.LINE_8, nesting, 1, (-x, -y))
            yield box, inside


def _labelled(mask: NDArray[np.uint8], least: float) -> Iterator[tuple[Sequence[int], NDArray[np.uint8]]]:
    """The same of parts of at least ``least`` pixels, in a time that hangs on the size of the mask alone."""
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_BBDT)
    for label in 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= least):
        x, y, width, height = box = [int(value) for value in stats[label][:4]]
        yield box, (labels[y : y + height, x : x + width] == label).view(np.uint8)
