"""What is kept of an image once a predictor has answered: a few numbers and two histograms, never pixels."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.evaluation.cleaning import cleaned
from training.evaluation.items import Item, Truth, nearest
from training.evaluation.predictors import Answer, Heatmap, Predictor
from training.evaluation.protocols import MEASURES, Protocol
from training.evaluation.roc import Roc
from training.synthesis.compression import jpeg
from training.synthesis.sample import Frame, Mask

LOGITS = 16.0
"""Heatmap values beyond this logit, or below its negative, share the outermost bins."""
BINS = 4096
LEVELS = 1 / (1 + np.exp(-np.linspace(-LOGITS, LOGITS, BINS, endpoint=False)))
"""Lower ends of the bins of pooled figures and of sets' thresholds, [BINS]: even in the logit, so that values near 0
and 1 are told apart as well as those in the middle; 0.5 is one of them."""
Change = Callable[[Frame, np.random.Generator, Truth], Frame]
"""What happens to a frame, by hands that may know its truth, before it is analysed."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image under one protocol."""

    name: str
    group: str
    label: bool
    score: float
    flags: Mapping[str, bool]
    """Whether the score reaches the predictor's own thresholds, by their rate in per cent."""
    area: float
    """Share of pixels that are manipulated; NaN where the truth has none."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Pixel figures of this image alone."""
    positives: NDArray[np.uint32] | None = None
    """Manipulated pixels by heatmap level, [BINS]; None where pixels are not judged."""
    negatives: NDArray[np.uint32] | None = None


def tally(
    predictors: Sequence[Predictor], items: Iterable[Item], protocol: Protocol, change: Change | None = None
) -> dict[str, list[Record]]:
    """Records by predictor; every image is read once, changed once, and seen by all."""
    records: dict[str, list[Record]] = {predictor.name: [] for predictor in predictors}
    for item in items:
        if not protocol.image and protocol.authentic == "excluded" and item.label is False:
            continue  # it enters no figure
        frame, truth = item.load()
        shown = presented(frame, protocol, change, seed=seed_of(item), truth=truth)
        for predictor in predictors:
            answer = predictor.predict(shown, working_size=protocol.working_size)
            record = recorded(item, answer, truth, protocol=protocol, predictor=predictor)
            records[predictor.name].append(record)
    return records


def seed_of(item: Item) -> int:
    """Of whatever is drawn for this image: the same in every run, for every predictor."""
    return zlib.crc32(item.name.encode())


def presented(frame: Frame, protocol: Protocol, change: Change | None, *, seed: int, truth: Truth = None) -> Frame:
    """The frame as predictors see it."""
    if change is not None:
        frame = change(frame, np.random.default_rng(seed), truth)
    if protocol.reencode:
        frame = jpeg(frame, protocol.reencode)
    side = protocol.squash
    if side and frame.shape[:2] != (side, side):
        how = cv2.INTER_AREA if min(frame.shape[:2]) >= side else cv2.INTER_LINEAR
        frame = np.asarray(cv2.resize(frame, (side, side), interpolation=how), np.uint8)
    return frame


def recorded(item: Item, answer: Answer, truth: Truth, *, protocol: Protocol, predictor: Predictor) -> Record:
    """The record of one answer."""
    label = bool(truth is not None and truth.any()) if item.label is None else item.label
    head = answer.score is not None and protocol.score == "head"
    score = float(answer.score) if head else float(answer.heatmap.mean(dtype=np.float64))
    flags = {f"{100 * float(rate):g}": score >= level for rate, level in predictor.score_thresholds.items() if head}
    area = float("nan") if truth is None else float(truth.mean())
    image = {
        "name": item.name,
        "group": item.group,
        "label": label,
        "score": score,
        "flags": flags,
        "area": area,
    }
    if truth is None or not (label or protocol.authentic == "included") or not protocol.pixel:
        return Record(**image)
    options = list(readings(*aligned(answer.heatmap, truth, protocol), protocol))
    values = [pixel_values(*option, protocol=protocol, own=predictor.mask_threshold) for option in options]
    best = max(range(len(options)), key=lambda index: metrics.auc(*options[index]) if len(options) > 1 else 0)
    counts = histograms(*options[best])
    return Record(**image, values={name: max(v[name] for v in values) for name in values[0]}, **counts)


def aligned(heatmap: Heatmap, truth: Mask, protocol: Protocol) -> tuple[NDArray[np.float32], Mask]:
    """Heatmap and truth pixel by pixel, flat, at one size and without what does not count."""
    if protocol.dilation > 1 or protocol.smallest:
        heatmap = cleaned(heatmap, dilation=protocol.dilation, smallest=protocol.smallest)
    if heatmap.shape != truth.shape:
        height, width = truth.shape
        if protocol.scored_at == "frame":
            heatmap = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
        else:
            truth = nearest(truth.view(np.uint8), heatmap.shape) > 0
    step = int(np.ceil(np.sqrt(truth.size / protocol.most_pixels)))
    counted = np.ones(truth.shape, np.bool_)
    if protocol.boundary:
        window = np.ones((2 * protocol.boundary + 1,) * 2, np.uint8)
        counted = cv2.morphologyEx(truth.view(np.uint8), cv2.MORPH_GRADIENT, window) == 0
    here = np.s_[::step, ::step]
    return heatmap[here][counted[here]], truth[here][counted[here]]


def readings(
    heatmap: NDArray[np.float32], truth: Mask, protocol: Protocol
) -> Iterator[tuple[NDArray[np.floating], Mask]]:
    """The pairs that the inversion rule allows; the best of them counts."""
    mostly = 2 * int(truth.sum()) > truth.size
    inverse = 1 - heatmap.astype(np.float64)  # in float32 the inverses of small values would be equal
    match protocol.inversion:
        case "negate_mostly_forged":
            yield (inverse if mostly else heatmap), truth
        case "smaller_region":
            yield heatmap, (~truth if mostly else truth)
        case "better_of_two":
            yield heatmap, truth
            yield inverse, truth
        case _:
            yield heatmap, truth


def pixel_values(heatmap: NDArray[np.floating], truth: Mask, *, protocol: Protocol, own: float) -> dict[str, float]:
    """The pixel figures of one image that need no other image."""
    asked = set(protocol.pixel)
    areas = {"auc": metrics.auc, "ap": metrics.average_precision}
    values = {name: area(heatmap, truth) for name, area in areas.items() if name in asked}
    if "p_map" in asked:
        values["p_map"] = permuted(heatmap, truth, rule=protocol.permutation)
    if not asked & {
        f"{measure}_{rule}" for measure in MEASURES for rule in ("fixed", "own", "best_image", "eer_image")
    }:
        return values
    roc = Roc.of(heatmap, truth)
    cuts = {"fixed": roc.index(protocol.fixed), "own": roc.index(own), "eer_image": int(roc.eer()[1])}
    for measure in MEASURES:
        if any(name.startswith(f"{measure}_") for name in asked):
            curve = getattr(roc, measure)()
            found = {f"{measure}_{rule}": float(curve[at]) for rule, at in cuts.items()}
            found[f"{measure}_best_image"] = float(curve.max())
            values |= {name: value for name, value in found.items() if name in asked}
    return values


def permuted(heatmap: NDArray[np.floating], truth: Mask, *, rule: str) -> float:
    """AP with the assignment of the two regions left open, as ``Protocol.permutation`` says."""
    count = 2 * int(truth.sum())
    if rule == "mag" and count != truth.size:
        return metrics.average_precision(heatmap, ~truth if count > truth.size else truth)
    return max(metrics.average_precision(heatmap, truth), metrics.average_precision(-heatmap, truth))


def histograms(heatmap: NDArray[np.floating], truth: Mask) -> dict[str, NDArray[np.uint32]]:
    """Pixels of both kinds by heatmap level."""
    value = heatmap.astype(np.float64)
    bins = np.clip(np.searchsorted(LEVELS, value, side="right") - 1, 0, BINS - 1)
    counts = (np.bincount(bins[kind], minlength=BINS).astype(np.uint32) for kind in (truth, ~truth))
    return dict(zip(("positives", "negatives"), counts, strict=True))
