"""How several answers become one: weights by logistic regression, a band in which a cascade goes on, thresholds.

Everything is fitted on the samples and photographs that are given, and on nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from export.ensembles.answers import Answers, Survey
from sdk.errors import BadSetting
from sdk.members import Combination, Stage, expit, logit
from training import measure, metrics

RIDGE = 1e-3
"""On the squares of the weights, against a mean loss: decides where two models always say the same."""
PIXELS = 200
"""Pixels of either kind that a sample gives to the fit of heatmaps, drawn with repetition: all samples count alike."""
LOWS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
HIGHS = tuple(1.0 - low for low in LOWS)
"""Ends of the bands that are tried. Scores are calibrated with both classes weighed alike: 0.5 is most unsure."""
LARGEST_FALL = 0.005
"""Of image and of pixel AUC, that a cascade may cost on the samples it is fitted on."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the stages make of one sample, [stages] each."""

    is_manipulated: bool
    scores: NDArray[np.float64]
    pixel_auc: NDArray[np.float64]
    """NaN for an authentic sample."""
    f1: NDArray[np.float64]
    """[stages, mask thresholds ``measure.LEVELS``]; NaN for an authentic sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """An ensemble, or a cascade if it has several stages."""

    stages: tuple[Stage, ...]
    mask_threshold: float
    photographs: dict[str, float]
    """Scores by the share of authentic photographs that reach them."""
    video: dict[str, float]
    bounds: dict[str, dict[str, float]]
    """95 % intervals of these shares."""

    def stage(self, one: Answers) -> tuple[float, Stage]:
        """The score of a frame and the stage that gave it."""
        for stage in self.stages:
            score = stage.score.of_scores(one.scores[: stage.size])
            if not stage.goes_on(score):
                break
        return score, stage  # of the last one, which never goes on, if of no other


def logistic(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> Combination:
    """Weights >= 0 of ``log_odds`` [N, M] by logistic regression in which both classes weigh the same.

    A model that says the opposite of the truth gets no weight: it would not do so elsewhere.
    """
    signs = np.where(labels, 1.0, -1.0)
    share = np.where(labels, 0.5 / max(labels.sum(), 1), 0.5 / max((~labels).sum(), 1))

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = signs * (values[0] + log_odds @ values[1:])
        slope = -share * signs * expit(-margin)
        gradient = np.concatenate([[slope.sum()], log_odds.T @ slope + RIDGE * values[1:]])
        return float(share @ np.logaddexp(0, -margin) + 0.5 * RIDGE * (values[1:] ** 2).sum()), gradient

    count = log_odds.shape[1]
    start = np.concatenate([[0.0], np.full(count, 1 / count)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), *[(0, None)] * count])
    return Combination(offset=float(found.x[0]), weights=tuple(map(float, found.x[1:])))


def stages(samples: Sequence[Answers]) -> tuple[Stage, ...]:
    """Combinations of the first model, of the first two, and so on."""
    scores = logit(np.array([one.scores for one in samples]))
    labels = np.array([one.is_manipulated for one in samples])
    if labels.all() or not labels.any():
        raise BadSetting("the samples are all authentic, or all manipulated", remedy="raise --count")
    pixels, truth = _pixels(samples)
    return tuple(
        Stage(score=logistic(scores[:, :size], labels), heatmap=logistic(pixels[:, :size], truth))
        for size in range(1, scores.shape[1] + 1)
    )


def _pixels(samples: Sequence[Answers]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log odds [N, M] of pixels of the manipulated samples and their truth [N], as many of either kind."""
    values, truths = [], []
    for index, one in enumerate(samples):
        if one.heatmaps is None or one.truth is None or not one.is_manipulated:
            continue
        rng = np.random.default_rng(index)
        for kind in (True, False):
            there = np.flatnonzero(one.truth.ravel() == kind)
            if there.size:
                drawn = rng.choice(there, PIXELS)
                values.append(one.heatmaps.reshape(len(one.heatmaps), -1)[:, drawn].T)
                truths.append(np.full(PIXELS, kind))
    return logit(np.concatenate(values).astype(np.float64)), np.concatenate(truths)


def judged(one: Answers, fitted: Sequence[Stage]) -> Judged:
    """What every stage makes of a sample, all of them asked."""
    scores = np.array([stage.score.of_scores(one.scores[: stage.size]) for stage in fitted])
    aucs = np.full(len(fitted), np.nan)
    f1 = np.full((len(fitted), measure.LEVELS.size), np.nan)
    if one.is_manipulated and one.truth is not None:
        for index, stage in enumerate(fitted):
            found = heatmap(one, stage)
            aucs[index] = metrics.auc(found, one.truth)
            f1[index] = [metrics.f1(found, one.truth, threshold=level) for level in measure.LEVELS]
    return Judged(one.is_manipulated, scores, aucs, f1)


def heatmap(one: Answers, stage: Stage) -> NDArray[np.float32]:
    """The heatmap that a stage makes of a sample's."""
    assert one.heatmaps is not None  # of samples they are kept
    return stage.heatmap.of_heatmaps(one.heatmaps[: stage.size], one.heatmaps.shape[1:])


def ends(scores: NDArray[np.float64], band: tuple[float, float]) -> NDArray[np.int64]:
    """The stage [N] at which each frame with ``scores`` [N, stages] ends, if all stages but the last have ``band``."""
    stops = ~((band[0] <= scores) & (scores < band[1]))
    stops[:, -1] = True
    return np.asarray(stops.argmax(1), np.int64)


def band(found: Sequence[Judged], costs: NDArray[np.float64]) -> tuple[float, float]:
    """The band with the least cost of those that keep image and pixel AUC within :data:`LARGEST_FALL` of all stages.

    ``costs`` [stages] are milliseconds up to the end of each stage. The band [0, 1) asks nearly everything always.
    """
    scores = np.array([one.scores for one in found])
    labels = np.array([one.is_manipulated for one in found])
    aucs = np.array([one.pixel_auc for one in found])
    whole = metrics.auc(scores[:, -1], labels), float(np.nanmean(aucs[:, -1]))
    rows = np.arange(len(found))
    cheapest, least = (0.0, 1.0), np.inf
    for low, high in itertools.product(LOWS, HIGHS):
        at = ends(scores, (low, high))
        reached = metrics.auc(scores[rows, at], labels), float(np.nanmean(aucs[rows, at]))
        cost = float(costs[at].mean())
        if cost < least and all(all_ - some <= LARGEST_FALL for all_, some in zip(whole, reached, strict=True)):
            cheapest, least = (low, high), cost
    return cheapest


def fitted(survey: Survey, made: Sequence[Stage], found: Sequence[Judged]) -> Fitted:
    """``made`` with the mask threshold of best mean F1 on the samples, and thresholds from the photographs."""
    rough = Fitted(stages=tuple(made), mask_threshold=0.5, photographs={}, video={}, bounds={})
    last = [rough.stage(one)[1].size for one in survey.samples]
    sizes = [stage.size for stage in made]
    f1 = [one.f1[sizes.index(size)] for one, size in zip(found, last, strict=True) if one.is_manipulated]
    levels: dict[str, dict[str, float]] = {}
    bounds = {}
    for kind, frames in (("photographs", survey.photographs), ("video", survey.video)):
        scores = np.array([rough.stage(one)[0] for one in frames])
        levels[kind] = {}
        for rate in measure.RATES if scores.size else ():
            levels[kind][str(rate)], bounds[f"{rate} of {kind}"] = measure.threshold(scores, rate)
    return replace(
        rough,
        mask_threshold=float(measure.LEVELS[int(np.argmax(np.mean(f1, axis=0)))]),
        photographs=levels["photographs"],
        video=levels["video"],
        bounds=bounds,
    )


def both(survey: Survey, costs: NDArray[np.float64]) -> dict[str, Fitted]:
    """An ensemble, which asks every model, and a cascade of the same; ``costs`` [M] are each model's, ms."""
    every = stages(survey.samples)
    found = [judged(one, every) for one in survey.samples]
    unsure = band(found, np.cumsum(costs))
    cascade = [replace(stage, band=unsure) for stage in every[:-1]] + [every[-1]]
    alone = [Judged(one.is_manipulated, one.scores[-1:], one.pixel_auc[-1:], one.f1[-1:]) for one in found]
    return {"ensemble": fitted(survey, every[-1:], alone), "cascade": fitted(survey, cascade, found)}
