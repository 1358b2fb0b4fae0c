"""ManTra-Net's own experiments: every point on the same patches, every kind a set, curves as pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training import checkpoints, models
from training.commands import main
from training.evaluation import items, plots, run, sensitivity
from training.evaluation.distortions import POSTPROCESSED
from training.synthesis import KINDS
from training.synthesis.hierarchy import LEAVES


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Two operations, few resamples, and two ways of postprocessing beside none."""
    monkeypatch.setattr(sensitivity, "OPERATIONS", {"Gaussian noise": "grey levels", "quantisation": "colours"})
    monkeypatch.setattr(run, "CURVES", run.replace(run.CURVES, rounds=20))
    kept = [way for way in run.POSTPROCESSING if way.name in {"shrink 0.5", "smooth edges 5"}]
    monkeypatch.setattr(run, "POSTPROCESSING", kept)


def test_every_parameter_is_a_point_on_the_same_patches_under_the_same_masks(photographs):
    made = list(sensitivity.points(photographs, count=2, size=48))
    assert [point.to_dict()["parameter"] for point in made[:16]] == sorted(
        leaf.parameters[0] for leaf in LEAVES if leaf.operation == "Gaussian noise"
    )
    assert len(made) == 16 + 8
    (faint, mask), (strong, same) = (made[at].items[1].load() for at in (0, 15))
    np.testing.assert_array_equal(mask, same)
    assert mask.any()
    np.testing.assert_array_equal(faint[~mask], strong[~mask])
    base = made[20].items[1].load()[0].astype(float)
    changes = [np.abs(frame - base)[mask].mean() for frame in (faint, strong)]
    assert changes[1] > 2 * changes[0]


def test_every_kind_is_a_set_of_its_own(photographs):
    found = items.by_kind(photographs, count=2, size=48, video=False)
    assert list(dict.fromkeys(item.group for item in found)) == [*KINDS, "manipulation"]
    assert all(item.load()[1].any() for item in found)
    first, again = (items.by_kind(photographs, count=2, size=48, video=False)[-1].load() for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])


def test_a_network_is_evaluated_by_kind_with_all_its_curves(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(items, "KINDS", {"splice": KINDS["splice"]})
    monkeypatch.setattr(sensitivity, "OPERATIONS", {"quantisation": "colours"})
    checkpoints.save(tmp_path / "small.pt", "mantranet", models.create("mantranet", body="lite", windows="3"))
    where = ["--photographs", str(photographs), "--out", str(tmp_path), "--checkpoint", str(tmp_path / "small.pt")]
    sizes = ["--size", "32", "--count", "1", "--by-kind", "--without-video", "--working-size", "0"]
    asked = ["--postprocessing", "--sensitivity", "1", "--protocol", "mantranet"]
    assert main(["evaluate", *where, *sizes, *asked]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    figures = result["figures"]["mantranet"]
    assert set(figures) == {"splice", "manipulation"}
    assert {"pixel_auc", "pixel_f1_fixed", "pixel_f1_best_set"} <= figures["splice"]["small"].keys()
    assert {row["name"] for row in result["postprocessing"]["rows"]["splice"]} == {
        "none",
        "shrink 0.5",
        "smooth edges 5",
    }
    rows = result["sensitivity"]["rows"]["patches"]
    assert len(rows) == 8
    assert all(0 <= row["pixel_auc"]["value"] <= 1 for row in rows)
    assert len(list(tmp_path.glob("postprocessing-*.png"))) == len(figures)
    assert (tmp_path / "sensitivity-patches.png").stat().st_size > 0


def test_a_panel_for_every_family(tmp_path):
    figure = {"value": 0.8, "low": 0.7, "high": 0.9, "images": 3}
    rows = [
        {"family": family, "parameter": step, "pixel_auc": figure} for family in POSTPROCESSED for step in (1.0, 2.0)
    ]
    (written,) = plots.write(tmp_path, {"rows": {"a set": rows}}, name="curves", families=POSTPROCESSED)
    assert written.name == "curves-a-set.png"
    assert written.read_bytes().startswith(b"\x89PNG")


def test_curves_without_photographs_are_refused(data, tmp_path, capsys):
    options = ["--data", str(data), "--out", str(tmp_path), "--baseline", "ela", "--sensitivity", "2"]
    assert main(["evaluate", *options]) == 2
    assert "-> give --photographs beside --sensitivity" in capsys.readouterr().err
