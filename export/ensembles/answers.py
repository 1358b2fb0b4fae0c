"""What artifacts say of samples whose truth is known and of authentic photographs, asked once and kept.

The held-out photographs are parted in two halves by camera. No sample takes anything from both, so that what was fitted
on one half can be tried on the other.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import sdk
from sdk.errors import BadSetting
from training.data import Photographs, Samples, weights
from training.display import watched
from training.heldout import Authentic, as_video
from training.measure import Plan
from training.synthesis.sample import Frame, Mask

SEED = 40_009
"""Seed of the samples that ensembles are fitted on; neither training's nor that of any other validation."""
GRID = 1 << 16
"""Pixels of a heatmap that are kept at most; of larger ones every second (third, ...) row and column."""
SCORE_ONLY = 1.0
"""As ``min_score``: next to no frame reaches it, and is localised."""
HALVES = (0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What every model says of one frame."""

    name: str
    half: int
    scores: NDArray[np.float64]
    """[M] in [0, 1]."""
    heatmaps: NDArray[np.float32] | None = None
    """[M, h, w] in [0, 1]; None of authentic photographs, of which only scores count."""
    truth: Mask | None = None
    """[h, w], where the frame was manipulated; None as above."""
    ms: NDArray[np.float64] | None = None
    """[M], what each answer took."""
    is_manipulated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """All that is known about some models."""

    samples: Sequence[Answers]
    photographs: Sequence[Answers]
    video: Sequence[Answers]

    def of(self, half: int) -> Survey:
        """One half of it."""
        parts = ([one for one in part if one.half == half] for part in (self.samples, self.photographs, self.video))
        return Survey(*parts)

    def ordered(self, order: Sequence[int]) -> Survey:
        """The models in another order."""
        parts = (self.samples, self.photographs, self.video)
        return Survey(*([_ordered(one, list(order)) for one in part] for part in parts))

    @property
    def costs(self) -> NDArray[np.float64]:
        """Median time of each model's answer, milliseconds, [M]."""
        return np.asarray(np.median([one.ms for one in self.samples], axis=0), np.float64)


def _ordered(one: Answers, order: list[int]) -> Answers:
    heatmaps = None if one.heatmaps is None else one.heatmaps[order]
    return replace(one, scores=one.scores[order], heatmaps=heatmaps, ms=None if one.ms is None else one.ms[order])


def halves(photographs: Photographs) -> tuple[Photographs, Photographs]:
    """Two parts without a camera in common; a photograph of an unknown camera stands for itself."""
    cameras = sorted(
        {row.camera_key for row in photographs.rows}, key=lambda key: hashlib.sha256(key.encode()).digest()
    )
    if len(cameras) < 2:
        raise BadSetting(
            f"the held-out photographs of {photographs.folder} are of one camera",
            remedy="give more, or cameras in a SOURCES.csv",
        )
    first, second = set(cameras[::2]), set(cameras[1::2])
    return _part(photographs, first), _part(photographs, second)


def _part(photographs: Photographs, cameras: set[str]) -> Photographs:
    part = copy.copy(photographs)  # without what is decoded
    part.rows = [row for row in photographs.rows if row.camera_key in cameras]
    part.cumulative = np.cumsum(weights(part.rows))
    return part


def survey(analyzers: Sequence[sdk.Analyzer], plan: Plan) -> Survey:
    """Ask every model about ``plan.samples`` samples, every photograph, and every photograph as video."""
    parts = halves(Photographs(plan.photographs, "validation"))
    photographs = list(_authentic(analyzers, parts, is_video=False))
    video = list(_authentic(analyzers, parts, is_video=True)) if plan.video else []
    return Survey(list(_samples(analyzers, parts, plan)), photographs, video)


def _samples(analyzers: Sequence[sdk.Analyzer], parts: Sequence[Photographs], plan: Plan) -> Iterator[Answers]:
    """The halves in turn, and within each the sides of the plan."""
    made = [[Samples(part, seed=SEED, size=side, video=plan.video) for side in plan.sides] for part in parts]
    for index in watched(range(plan.samples), name="samples"):
        half, turn = index % len(parts), index // len(parts)
        sample = made[half][turn % len(plan.sides)].sample(index)
        found, ms = asked(analyzers, sample.frame, min_score=0.0)
        grid = np.s_[:: step(sample.mask.shape), :: step(sample.mask.shape)]
        yield Answers(
            name=f"sample {index}",
            half=half,
            scores=np.array([one.score for one in found]),
            heatmaps=np.stack([one.heatmap[grid] for one in found if one.heatmap is not None]),
            truth=sample.mask[grid].copy(),
            ms=ms,
            is_manipulated=bool(sample.label),
        )


def _authentic(analyzers: Sequence[sdk.Analyzer], parts: Sequence[Photographs], *, is_video: bool) -> Iterator[Answers]:
    """Every photograph as it is, or as a frame of video."""
    name = "video frames" if is_video else "photographs"
    for half, part in enumerate(parts):
        frames = Authentic(part)
        for index in watched(range(len(frames)), name=f"{name}, half {half + 1} of {len(parts)}"):
            frame = as_video(frames[index], seed=SEED, index=index) if is_video else frames[index]
            found, _ = asked(analyzers, frame, min_score=SCORE_ONLY)
            yield Answers(f"photograph {index}", half, np.array([one.score for one in found]))


def asked(
    analyzers: Sequence[sdk.Analyzer], frame: Frame, *, min_score: float
) -> tuple[list[sdk.Analysis], NDArray[np.float64]]:
    """Every model's analysis of ``frame``, and the milliseconds that each took."""
    found, ms = [], []
    for analyzer in analyzers:
        began = time.perf_counter()
        found.append(analyzer.analyze(frame, min_score=min_score))
        ms.append(1e3 * (time.perf_counter() - began))
    return found, np.array(ms)


def step(shape: tuple[int, ...]) -> int:
    """Of rows and columns that are kept of a heatmap of ``shape``."""
    return int(np.ceil(np.sqrt(shape[0] * shape[1] / GRID)))
