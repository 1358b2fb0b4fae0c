"""Measure trained weights on photographs that training did not see, and write their card.

Thresholds come from authentic photographs, one frame per photograph, whole or as cropped when delivered; those for
video from the same photographs after a video codec; accuracy and calibration from samples made of them. Everything is
chosen here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from training import metrics
from training.card import Card
from training.data import Photographs, Samples
from training.display import watched
from training.heldout import Authentic, Frame, as_video, at_each
from training.nn.detector import Detector
from training.nn.folding import fold
from training.synthesis.sample import Sample

SEED = 20_012
"""Seed of the samples that are measured on; neither training's nor that of validation during training."""
RATES = (0.01, 0.05)
LEVELS = np.linspace(0.1, 0.95, 18)
"""Mask thresholds that are tried."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured."""

    photographs: Path
    working_sizes: tuple[int, ...] = (512, 768, 1024, 0)
    """Long sides, px; 0 is the frame's own size."""
    samples: int = 160
    size: int = 1152
    """Side of a third of the samples, px; the second third has two thirds of it, the last four ninths."""
    native_megapixels: float = 2.1
    """Photographs above this are not measured at their own size; 1080p lies just below."""
    video: bool = True
    """Whether thresholds for video are found; that needs PyAV."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the samples, px, in turn."""
        return self.size, self.size * 2 // 3, self.size * 4 // 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One sample at one working size."""

    kind: str
    is_manipulated: bool
    margin: float
    pixel_auc: float
    """NaN for an authentic sample."""
    f1: NDArray[np.float64]
    """By mask threshold, ``LEVELS``; NaN for an authentic sample."""


@torch.inference_mode()
def answer(detector: Detector, frame: Frame, *, working_size: int) -> tuple[NDArray[np.float32], float]:
    """Heatmap [H, W] and margin of the class logits, uncalibrated; in float32, as it is deployed."""
    pixels = torch.from_numpy(np.ascontiguousarray(frame))[None].to(detector.calibration.device)
    logits = detector.logits(pixels, working_size)
    heatmap = detector.heatmap(logits.masks[0][:, None], *frame.shape[:2])
    return heatmap[0].float().cpu().numpy(), float(logits.score[0, 1] - logits.score[0, 0])


def samples(detector: Detector, photographs: Photographs, plan: Plan) -> dict[int, list[Found]]:
    """What the detector makes of every sample, by working size."""
    table: dict[int, list[Found]] = {size: [] for size in plan.working_sizes}
    made = [Samples(photographs, seed=SEED, size=side, video=plan.video) for side in plan.sides]
    for index in watched(range(plan.samples), name="samples"):
        sample = made[index % len(made)].sample(index)
        found = at_each(sample.frame, plan.working_sizes, lambda size, sample=sample: judged(detector, sample, size))
        for size, row in found.items():
            table[size].append(row)
    return table


def judged(detector: Detector, sample: Sample, working_size: int) -> Found:
    """What the detector makes of one sample."""
    heatmap, margin = answer(detector, sample.frame, working_size=working_size)
    return Found(
        kind=str(sample.recipe["kind"]),
        is_manipulated=bool(sample.label),
        margin=margin,
        pixel_auc=metrics.auc(heatmap, sample.mask) if sample.label else np.nan,
        f1=np.array(
            [metrics.f1(heatmap, sample.mask, threshold=level) if sample.label else np.nan for level in LEVELS]
        ),
    )


def margins(
    detector: Detector, frames: Sequence[Frame], plan: Plan, *, video: bool = False
) -> dict[int, NDArray[np.float64]]:
    """Margins of authentic frames by working size; too large ones are left out at their own size.

    With ``video`` every frame passes through a video codec first.
    """
    table: dict[int, list[float]] = {size: [] for size in plan.working_sizes}

    def margin(frame: Frame, working_size: int) -> float | None:
        if working_size == 0 and frame.shape[0] * frame.shape[1] > 1e6 * plan.native_megapixels:
            return None
        return answer(detector, frame, working_size=working_size)[1]

    for index in watched(range(len(frames)), name="video frames" if video else "photographs"):
        frame = as_video(frames[index], seed=SEED, index=index) if video else frames[index]
        for size, value in at_each(frame, plan.working_sizes, lambda at, frame=frame: margin(frame, at)).items():
            if value is not None:
                table[size].append(value)
    return {size: np.array(values) for size, values in table.items()}


def summary(found: Sequence[Found]) -> dict[str, object]:
    """Figures of one working size."""
    manipulated = [row for row in found if row.is_manipulated]
    aucs = np.array([row.pixel_auc for row in manipulated])
    kinds = np.array([row.kind for row in manipulated])
    return {
        "pixel_auc": float(aucs.mean()),
        "pixel_auc_interval": bootstrap(aucs),
        "pixel_auc_by_kind": {kind: float(aucs[kinds == kind].mean()) for kind in sorted(set(kinds))},
        "image_auc": metrics.auc([row.margin for row in found], [row.is_manipulated for row in found]),
        "samples": len(found),
        "mask_threshold": mask_threshold(manipulated),
    }


def mask_threshold(manipulated: Sequence[Found]) -> float:
    """The one threshold with the best F1 averaged over the samples, of a grid."""
    return float(LEVELS[int(np.argmax(np.mean([row.f1 for row in manipulated], axis=0)))])


def bootstrap(values: NDArray[np.float64], *, rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean, images resampled."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (rounds, values.size)).mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def calibrate(found: Sequence[Found]) -> tuple[float, float]:
    """Slope and offset of a logistic fit in which both classes weigh the same; the slope is kept positive."""
    values, labels = np.array([row.margin for row in found]), [row.is_manipulated for row in found]
    fit = LogisticRegression(class_weight="balanced").fit(values[:, None], labels)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, -float(np.median(values)))


def threshold(scores: NDArray[np.float64], rate: float) -> tuple[float, dict[str, float]]:
    """The lowest score that at most ``rate`` of the authentic photographs reach, and the bounds on that rate.

    ``bounds`` are Clopper and Pearson's 95 % interval of the true rate, with photographs counted, not crops.
    """
    count = scores.size
    flagged = int(rate * count)
    ordered = np.sort(scores)[::-1]
    level = float(np.nextafter(np.float32(ordered[flagged]), np.float32(1.0)))
    low = float(beta.ppf(0.025, flagged, count - flagged + 1)) if flagged else 0.0
    high = float(beta.ppf(0.975, flagged + 1, count - flagged))
    return min(level, 1.0), {"photographs": count, "flagged": flagged, "rate_low": low, "rate_high": high}


def thresholds(
    by_size: Mapping[int, NDArray[np.float64]], calibration: tuple[float, float]
) -> tuple[dict[int, dict[str, float]], dict[str, dict[str, float]]]:
    """Scores by working size and rate, and the bounds on the rates by both."""
    slope, offset = calibration
    levels: dict[int, dict[str, float]] = {size: {} for size in by_size}
    bounds = {}
    for size, values in by_size.items():
        scores = 1 / (1 + np.exp(-(slope * values + offset)))
        for rate in RATES:
            levels[size][str(rate)], bounds[f"{rate} at {size or 'native'}"] = threshold(scores, rate)
    return levels, bounds


def card(detector: Detector, plan: Plan, **known: object) -> Card:
    """The card of ``detector``. The default working size has the best sum of pixel and image AUC.

    A working size at which no photograph could be measured is left out: it would have no threshold.
    """
    photographs = Photographs(plan.photographs, "validation")
    detector = detector.eval().to(memory_format=torch.channels_last)
    fold(detector)
    frames = Authentic(photographs)
    authentic = margins(detector, frames, plan)
    plan = replace(plan, working_sizes=tuple(size for size, values in authentic.items() if values.size))
    if not plan.working_sizes:
        raise ValueError(
            f"no photograph of {plan.native_megapixels} megapixels or less to measure at its own size\n"
            "  -> measure another --working-size, or raise --native-megapixels"
        )
    found = samples(detector, photographs, plan)
    figures = {size: summary(rows) for size, rows in found.items()}
    default = max(figures, key=lambda size: figures[size]["pixel_auc"] + figures[size]["image_auc"])
    calibration = calibrate(found[default])
    levels, bounds = thresholds({size: authentic[size] for size in plan.working_sizes}, calibration)
    of_video, video_bounds = thresholds(margins(detector, frames, plan, video=True) if plan.video else {}, calibration)
    protocol = {"protocol": "synthetic validation", "seed": SEED, "sides": plan.sides}
    rates = {"native_megapixels": plan.native_megapixels, "photographs": bounds, "video frames": video_bounds}
    return Card(
        working_size=default,
        thresholds={
            str(size): {"photographs": levels[size], "video": of_video.get(size, {})} for size in plan.working_sizes
        },
        calibration=calibration,
        mask_threshold=figures[default]["mask_threshold"],
        figures={
            "synthetic": protocol | {"by_working_size": {str(size): table for size, table in figures.items()}},
            "false_positives": rates,
        },
        **known,
    )
