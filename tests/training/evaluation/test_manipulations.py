"""How well manipulations are told apart: by rank, level, family and operation, with intervals, as a verb."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from training import checkpoints
from training.commands import main
from training.evaluation.manipulations import accuracies, share
from training.models.mantranet import Config
from training.nn.vgg import BODIES
from training.recipes.mantranet import fresh_classifier
from training.synthesis.hierarchy import LEAVES

JPEG, WEBP, BOX = (
    next(at for at, leaf in enumerate(LEAVES) if leaf.operation == name) for name in ("JPEG", "WebP", "box blur")
)


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (3, 7), (7, 7), (480, 500)])
def test_intervals_are_wilsons(hits, count):
    found = share(np.arange(count) < hits)
    bounds = binomtest(hits, count).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == (pytest.approx(bounds.low, abs=1e-6), pytest.approx(bounds.high, abs=1e-6))
    assert (found["value"], found["images"]) == (pytest.approx(hits / count, abs=1e-6), count)


def test_every_patch_is_counted_where_it_belongs():
    truth = np.array([JPEG, JPEG, WEBP, BOX])
    ranked = np.arange(300, 340).reshape(4, 10)
    ranked[0, 0] = JPEG
    ranked[1, [0, 2]] = WEBP, JPEG  # the family, and third
    ranked[2, [0, 9]] = BOX, WEBP  # another family, and tenth
    ranked[3, [0, 4]] = BOX + 1, BOX  # the operation, and fifth
    found = accuracies(ranked, truth)
    assert [found["top"][rank]["value"] for rank in ("1", "3", "5", "10")] == [0.25, 0.5, 0.75, 1.0]
    assert [found["levels"][level]["value"] for level in ("0", "1", "4", "5")] == [0.75, 0.5, 0.5, 0.25]
    assert (found["levels"]["0"]["classes"], found["levels"]["5"]["classes"]) == (8, 385)
    compression = found["families"]["compression"]
    assert (compression["group"]["value"], compression["top"]["1"]["images"]) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert found["operations"]["JPEG"]["top"]["3"]["value"] == 1.0
    assert found["operations"]["JPEG"]["group"]["value"] == 0.5
    assert "noise" not in found["families"]
    counts = np.array(found["confusion"]["truth_by_answer"])
    names = found["confusion"]["families"]
    assert counts.sum() == 4
    assert counts[names.index("compression"), names.index("blur")] == 1


def test_the_verb_writes_figures_and_a_picture(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(BODIES, "narrow", (8,) * 11)
    checkpoints.save(tmp_path / "imc.pt", "mantranet-imc", fresh_classifier(Config(body="narrow")))
    where = ["--photographs", str(photographs), "--checkpoint", str(tmp_path / "imc.pt"), "--out", str(tmp_path)]
    assert main(["classify", *where, "--count", "6", "--size", "16"]) == 0
    found = json.loads((tmp_path / "manipulations.json").read_text())
    assert found["top"]["10"]["images"] == 6
    assert (found["patches"]["size"], found["checkpoint"]["model"]) == (16, "mantranet-imc")
    assert (tmp_path / "manipulations.png").read_bytes().startswith(b"\x89PNG")
    assert "top 10" in capsys.readouterr().out
