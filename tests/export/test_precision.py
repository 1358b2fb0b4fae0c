"""Evidence about fp16: a planted overflow is seen where CPU runtimes would not see it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from export import parity, precision
from export.freeze import freeze
from sdk.errors import ParityFailed
from training.nn.detector import Detector


@pytest.fixture
def frozen(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setattr(precision, "SIZE", (64, 64))
    return freeze(detector)


def test_rows_name_the_layer_with_the_largest_activation(frozen: Detector, photographs: list[np.ndarray]) -> None:
    rows, recorded = precision.half_rows(frozen, photographs[:1])
    peaks = precision.activation_peaks(frozen, torch.from_numpy(np.stack(parity.frames(photographs[:1], [(64, 64)]))))
    layer = max(peaks, key=peaks.__getitem__)
    assert rows[-1].case == f"peak {layer}"
    assert rows[-1].max_abs_heatmap == pytest.approx(peaks[layer] / 65504)
    assert len(rows) == 2
    assert recorded.keys() == peaks.keys()


def test_a_planted_overflow_fails_the_gate(frozen: Detector, photographs: list[np.ndarray]) -> None:
    planted = copy.deepcopy(frozen)
    planted.net.trunk.conv2.weight.mul_(1e6)
    rows, peaks = precision.half_rows(planted, photographs[:1])
    assert max(peaks.values()) > precision.LARGEST_HALF
    with pytest.raises(ParityFailed, match="peak net"):
        parity.require(rows)


def test_freezing_rounds_and_folds_without_moving_the_answer(
    detector: Detector, frozen: Detector, photographs: list[np.ndarray]
) -> None:
    assert not [module for module in frozen.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for parameter in frozen.net.parameters():
        assert torch.equal(parameter, parameter.half().float())
    frame = torch.from_numpy(photographs[0][:64, :64].copy())[None]
    with torch.inference_mode():
        for a, b in zip(detector(frame), frozen(frame), strict=True):
            assert float((a - b).abs().max()) < 2e-2


def test_what_is_not_a_number_counts_as_an_overflow(frozen: Detector, photographs: list[np.ndarray]) -> None:
    planted = copy.deepcopy(frozen)
    planted.net.trunk.conv1.bias.fill_(float("nan"))
    frame = torch.from_numpy(photographs[0][:64, :64].copy())[None]
    assert precision.activation_peaks(planted, frame)["net.trunk.conv1"] == float("inf")
