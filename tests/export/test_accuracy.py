"""A precision is allowed by what it loses, counted against samples whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sdk
from export import accuracy
from export.accuracy import Accuracy
from sdk.contract import Contract
from training.synthesis.sample import Sample


def found(pixel: float = 0.8, image: float = 0.7, changed: int = 0) -> Accuracy:
    verdicts = ("suspicious",) * changed + ("no_evidence",) * (400 - changed)
    return Accuracy(pixel_auc=pixel, image_auc=image, verdicts=verdicts)


@pytest.mark.parametrize(
    ("lower", "allowed"),
    [
        (found(), True),
        (found(pixel=0.7981, image=0.6981, changed=2), True),
        (found(pixel=0.79), False),
        (found(image=0.69), False),
        (found(changed=3), False),
        (found(pixel=0.9, image=float("nan")), False),
    ],
)
def test_bounds(lower: Accuracy, *, allowed: bool) -> None:
    assert accuracy.is_allowed(accuracy.changes(found(), lower)) is allowed


def test_nothing_is_known_without_samples(exported: tuple[Path, Contract]) -> None:
    assert accuracy.bf16_changes(exported[0], [], working_sizes=(0,)) == {}
    assert exported[1].precisions[0] == "f32"
    assert "bf16" not in exported[1].precisions


def test_measures_what_the_sdk_answers(exported: tuple[Path, Contract], photographs: list[np.ndarray]) -> None:
    mask = np.zeros((100, 120), np.bool_)
    mask[:50] = True
    samples = [Sample(photographs[0][:100, :120], mask), Sample(photographs[1][:100, :120], np.zeros_like(mask))]
    exact = accuracy.measure(exported[0], samples, precision="f32")
    analyses = [sdk.load(exported[0], precision="f32").analyze(sample.frame) for sample in samples]
    assert exact.image_auc == float(analyses[0].score > analyses[1].score)
    assert exact.verdicts == tuple(analysis.verdict.name for analysis in analyses)
    above, below = analyses[0].heatmap[:50].ravel(), np.sort(analyses[0].heatmap[50:].ravel())
    assert exact.pixel_auc == pytest.approx(np.searchsorted(below, above).mean() / below.size, abs=1e-3)
