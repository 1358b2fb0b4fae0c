"""The gate refuses what it should."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export import parity, precision
from export.targets import onnx
from export.weights import FILE as WEIGHTS
from sdk.contract import Contract
from sdk.errors import ParityFailed
from training.card import Card
from training.nn.detector import Detector


def test_a_row_over_its_budget_is_named(exported: tuple[Path, Contract]) -> None:
    row = dataclasses.replace(exported[1].parity[-1], max_abs_heatmap=3e-4)
    with pytest.raises(ParityFailed, match=r"(?s)differ from the torch model.*heatmap 3.0e-04.*-> mend the lowering"):
        parity.require([row])


def test_not_a_number_is_over_every_budget(exported: tuple[Path, Contract]) -> None:
    row = dataclasses.replace(exported[1].parity[-1], max_abs_score=float("nan"))
    assert parity.over_budget([row]) == [row]


def test_an_artifact_that_answers_otherwise_is_not_written(
    exported: tuple[Path, Contract],
    detector: Detector,
    photographs: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One weight changed on its way into the file."""
    folder, contract = exported
    files = {name: (folder / name).read_bytes() for name in contract.sha256}
    weights = np.frombuffer(files[WEIGHTS], np.float16).copy()
    weights[np.abs(weights).argmax()] *= 4
    monkeypatch.setattr(onnx, "_files", lambda _: ({**files, WEIGHTS: weights.tobytes()}, dict(contract.graphs)))
    monkeypatch.setattr(parity, "SIZES", ((40, 52),))
    monkeypatch.setattr(parity, "WHOLE_SIZES", ())
    monkeypatch.setattr(parity, "SHRUNK", ((75, 97), 48))
    monkeypatch.setattr(precision, "SIZE", (64, 64))
    with pytest.raises(ParityFailed, match="the exported graphs differ from the torch model"):
        onnx.export(
            detector, tmp_path / "wrong", name="wrong", model="psccnet-lite", card=Card(), photographs=photographs
        )
    assert not (tmp_path / "wrong").exists()
