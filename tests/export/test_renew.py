"""New graphs over an artifact's own weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import sdk
from export import parity, precision
from export.commands import main
from export.targets import onnx
from sdk import artifact
from sdk.artifact import SHIPPED
from sdk.contract import ParityRow
from sdk.errors import ArtifactInvalid, ParityFailed, PrecisionUnavailable


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "SIZES", ((32, 32),))
    monkeypatch.setattr(parity, "WHOLE_SIZES", ((32, 32),))
    monkeypatch.setattr(parity, "SHRUNK", ((75, 97), 48))
    monkeypatch.setattr(precision, "SIZE", (64, 64))


@pytest.mark.usefixtures("quick")
def test_graphs_are_made_again_and_all_else_stays(exported, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("export.commands._photographs", lambda _: photographs)
    folder, known = exported
    assert main(["renew", str(folder), "--out", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new'}\n"
    renewed = artifact.read(tmp_path / "new").contract
    assert renewed.sha256["card.md"] == known.sha256["card.md"]
    same = ("thresholds", "precisions", "version", "working_size", "plan", "training_data")
    assert all(getattr(renewed, name) == getattr(known, name) for name in same)
    assert [row for row in renewed.parity if row.precision == "weights"] == [
        row for row in known.parity if row.precision == "weights"
    ]
    frame = photographs[0]
    first, second = (sdk.load(place, precision="f32").analyze(frame) for place in (folder, tmp_path / "new"))
    assert abs(first.score - second.score) < 1e-5
    np.testing.assert_allclose(first.heatmap, second.heatmap, atol=1e-5)


@pytest.mark.parametrize("heatmap", [0.01, 0.03])
@pytest.mark.parametrize("allowed", [("f32", "bf16"), ("f32", "fp16")])
def test_fp16_is_allowed_where_its_rows_keep_to_their_budget(allowed, heatmap):
    judged = {"max_abs_heatmap": heatmap, "max_abs_score": 0.0, "budget": 0.02}
    row = ParityRow(case="half", backend="torch", precision="fp16", size=(1, 1), **judged)
    more = ("fp16",) if allowed == ("f32", "bf16") and heatmap < row.budget else ()
    assert onnx._with_fp16(allowed, [row]) == (*allowed, *more)


@pytest.mark.usefixtures("quick")
def test_what_answers_otherwise_is_not_written(exported, photographs, tmp_path, monkeypatch):
    loaded = artifact.read(exported[0])
    content = {name: (loaded.path / name).read_bytes() for name in loaded.contract.sha256}
    monkeypatch.setattr(onnx, "_files", lambda _: (content, loaded.contract.graphs))
    unchanged = parity.unchanged
    rows: list[object] = []

    def changed(*arguments: object) -> list[object]:
        rows.extend(unchanged(*arguments))
        return [dataclasses.replace(row, max_abs_heatmap=1.0) for row in rows]

    monkeypatch.setattr(parity, "unchanged", changed)
    with pytest.raises(ParityFailed, match=r"small would not answer as before:\n +as before +openvino +f32"):
        onnx.renew(loaded, tmp_path / "new", photographs=photographs)
    assert not (tmp_path / "new").exists()
    assert rows and all(row.max_abs_heatmap < row.budget for row in rows)


@pytest.mark.parametrize("precisions", [("f32", "fp16"), ("bf16",)])
def test_answers_of_other_weights_are_over_the_budget_in_every_precision_of_a_cpu(photographs, precisions):
    psccnet, mag = SHIPPED / "psccnet-lite", SHIPPED / "mag-lite"
    try:
        rows = parity.unchanged(psccnet, mag, photographs, precisions)
    except PrecisionUnavailable:
        pytest.skip("this machine has no bf16")
    assert [row.precision for row in rows] == [precisions[0]] * len(photographs)
    assert parity.over_budget(rows) == rows
    assert not parity.over_budget(parity.unchanged(mag, mag, photographs[:1], precisions))


def test_a_folder_of_something_else_is_left_alone(exported, photographs, tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ArtifactInvalid, match="exists and is not an artifact"):
        onnx.renew(artifact.read(exported[0]), tmp_path, photographs=photographs)
    assert (tmp_path / "mine").read_text() == "keep"
