"""Nothing but the manipulation tells a forged sample from an authentic one: not its file, its size or its history.

Gradient boosting gets only what a picture shows outside the manipulated region (of an authentic one: outside a region
that another sample was manipulated in) and every step of its life, and has to stay at chance. The same test on samples
in which the leak is planted has to find it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from training.data import Photographs
from training.synthesis import synthesize
from training.synthesis.compression import jpeg
from training.synthesis.sample import Crop, Sample

COUNT = 4000
"""An AUC at chance scatters by 0.01 on so many."""
ENOUGH = 1000
"""Samples in which a planted leak is found."""
SIDE = 96
LIMIT = 0.55
FOUND = 0.9
REACH = 8
"""How far beyond a region its traces may reach, px: blocks of a JPEG, kernels of a filter."""
TABLES = (65, 75, 85, 95)
"""JPEG qualities; a picture that was saved by one of these tables hardly changes when it is saved by it again."""
STEPS = ("jpeg", "webp", "h264", "screen", "shrink", "area", "linear", "cubic", "lanczos", "blur", "noise", "sharpen",
         "tone", "colour", "messenger", "social", "feed", "microblog", "gallery", "forum", "full", "intra")  # fmt: skip


@dataclass(frozen=True)
class Textures:
    """Photographs made up on the spot: smooth colours, edges and grain of a random camera."""

    pool: tuple[np.ndarray, ...]

    def crop(self, rng, side):
        whole = self.pool[int(rng.integers(len(self.pool)))]
        span = min(max(side, 160), len(whole))
        top, left = rng.integers(0, len(whole) - span + 1, 2)
        window = np.ascontiguousarray(whole[top : top + span, left : left + span])
        return Crop(window if span == side else cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA))


def texture(rng, side=448):
    total = np.zeros((side, side, 3), np.float32)
    for cells, weight in ((4, 60), (12, 35), (40, 18), (120, 9)):
        coarse = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y, radius = (int(part) for part in rng.integers(10, side, 3))
        cv2.circle(total, (x, y), radius // 5, rng.uniform(-90, 90, 3).tolist(), -1, cv2.LINE_AA)
    grain = rng.uniform(0.5, 6) * rng.standard_normal(total.shape)
    frame = np.clip(128 + total + grain, 0, 255).astype(np.uint8)
    return jpeg(frame, int(rng.integers(60, 99)), subsample=bool(rng.random() < 0.5))


def features(sample: Sample, region: np.ndarray) -> np.ndarray:
    """History from the recipe, and traces of compression, noise, blur and tone outside ``region``."""
    return np.concatenate([history(sample.recipe), traces(sample.frame, ~region)])


def history(recipe) -> np.ndarray:
    """How often each step was made, its first figure, and the steps in all."""
    life = [str(step) for step in recipe["life"]]
    counts = [sum(bool(re.search(rf"\b{name}|_{name}", step)) for step in life) for name in STEPS]
    figures = [max((int(n) for step in life if name in step for n in re.findall(r"\d+", step)), default=-1)
               for name in STEPS]  # fmt: skip
    return np.array([len(life), *counts, *figures], np.float64)


def traces(frame: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Blockiness at every offset, noise, blur, tone, and what coding anew by several tables costs, ``outside``."""
    values = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    luma = values[..., 0]
    found = []
    for axis in (0, 1):
        second = np.abs(np.diff(luma, 2, axis=axis))
        valid = outside[1:-1] if axis == 0 else outside[:, 1:-1]
        lines = [second.swapaxes(0, axis)[k::8][valid.swapaxes(0, axis)[k::8]] for k in range(8)]
        means = np.array([line.mean() if line.size else np.nan for line in lines])
        found += [*(means / (np.nanmean(means) + 1e-3)), np.nanmax(means) / (np.nanmin(means) + 1e-3)]
    for plane in np.moveaxis(values, -1, 0):
        laplacian = np.abs(cv2.Laplacian(plane, cv2.CV_32F))[outside]
        wide = np.abs(plane - cv2.GaussianBlur(plane, (0, 0), 2))[outside]
        found += [np.median(laplacian), laplacian.mean(), np.median(laplacian) / (np.median(wide) + 0.1)]
        found += [plane[outside].mean(), plane[outside].std()]
    flat = (frame == np.roll(frame, 1, 1)).all(-1)[outside].mean()
    clipped = [(frame == value).all(-1)[outside].mean() for value in (0, 255)]
    found += [np.abs(jpeg(frame, quality)[outside].astype(np.int16) - frame[outside]).mean() for quality in TABLES]
    histogram = np.bincount(luma[outside].astype(int), minlength=256)
    return np.array([*found, flat, *clipped, (histogram > 0).sum()])


def examples(source, count: int = COUNT) -> tuple[list[Sample], list[np.ndarray]]:
    """Samples as they come, each with the region to look away from: its own or, of authentic ones, another's."""
    samples = [synthesize(source, seed=23, index=index, size=SIDE) for index in range(count)]
    rng = np.random.default_rng(7)
    masks = [sample.mask for sample in samples if sample.label]
    regions = [sample.mask if sample.label else masks[int(rng.integers(len(masks)))] for sample in samples]
    reach = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    return samples, [cv2.dilate(region.astype(np.uint8), reach) > 0 for region in regions]


def auc(samples, regions, *, plant: Callable[[Sample], Sample] = lambda sample: sample) -> float:
    """Cross-validated AUC of label against nuisance features."""
    table = [features(plant(sample), region) for sample, region in zip(samples, regions, strict=True)]
    labels = [sample.label for sample in samples]
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    scores = cross_val_predict(model, np.array(table), labels, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, scores))


def saved_once_more(sample: Sample) -> Sample:
    """What a data set does that saves its forgeries and copies its photographs."""
    return replace(sample, frame=jpeg(sample.frame, 75)) if sample.label else sample


@pytest.fixture(scope="module")
def made_up():
    rng = np.random.default_rng(3)
    return examples(Textures(tuple(texture(rng) for _ in range(60))))


@pytest.mark.slow
def test_neither_file_nor_history_tells(made_up):
    assert auc(*made_up) <= LIMIT


@pytest.mark.slow
def test_a_planted_leak_is_found(made_up):
    samples, regions = made_up
    assert auc(samples[:ENOUGH], regions[:ENOUGH], plant=saved_once_more) >= FOUND


@pytest.mark.slow
def test_neither_file_nor_history_tells_of_real_photographs(shared_data):
    samples, regions = examples(Photographs(shared_data / "train", "train"))
    assert auc(samples, regions) <= LIMIT
    assert auc(samples[:ENOUGH], regions[:ENOUGH], plant=saved_once_more) >= FOUND
