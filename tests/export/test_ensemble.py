"""From photographs and two artifacts to an ensemble and a cascade that the SDK loads."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

import sdk
from export import commands
from export.ensembles.answers import halves, step
from sdk import artifact, members
from tests.sdk import toy, toy_ensemble
from tests.training.conftest import picture
from training.data import Photographs

COUNT = 12


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Photographs of a folder that is held out as a whole, two of each camera."""
    folder = tmp_path_factory.mktemp("photographs") / "train"
    (folder / "lire_cc").mkdir(parents=True)
    rng = np.random.default_rng(11)
    with (folder / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, ["file", "mask", "source_path", "camera"])
        writer.writeheader()
        for index in range(COUNT):
            file = f"train/lire_cc/{index}.jpg"
            cv2.imwrite(str(folder.parent / file), picture(rng), [cv2.IMWRITE_JPEG_QUALITY, 92])
            writer.writerow({"file": file, "mask": "", "source_path": file, "camera": f"Maker {index // 2}"})
    return folder


def run(held_out, out, *options: str) -> int:
    names = [str(out / name) for name in toy_ensemble.NAMES]
    given = ["--photographs", str(held_out), "--out", str(out), "--count", "12", "--size", "144", "--threads", "1"]
    return commands.main(["ensemble", *names, *given, "--without-video", *options])


def test_what_is_written_is_loaded_and_answers_as_it_says(held_out, tmp_path, rng, capsys):
    for name in toy_ensemble.NAMES:
        toy.build(tmp_path / name, name=name)
    assert run(held_out, tmp_path, "--version", "0.3") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "ensemble"), str(tmp_path / "cascade")]
    frame = picture(rng)
    for kind, stages in (("ensemble", 1), ("cascade", 2)):
        with sdk.load(tmp_path / kind, device="cpu", threads=1) as analyzer:
            found = analyzer.analyze(frame)
        terms = members.read(artifact.read(tmp_path / kind))
        assert len(terms.stages) == stages
        ran = [member.name for member in terms.members[: len(found.members)]]
        assert list(found.members) == ran
        stage = next(stage for stage in terms.stages if stage.size == len(ran))
        assert found.score == stage.score.of_scores([one.score for one in found.members.values()])
        contract = analyzer.artifact.contract
        assert (contract.version, contract.status, set(contract.thresholds)) == ("0.3", "preview", {"0"})
        card = (tmp_path / kind / "card.md").read_text(encoding="utf-8")
        figures = json.loads(card.partition("```json\n")[2].partition("```")[0])
        assert set(figures["held_out"]["figures"]) == {"ensemble", "cascade", *toy_ensemble.NAMES}
        counted = figures["held_out"]["false_positives"][kind]["0.05"]
        assert counted["photographs"] == COUNT


def test_halves_have_no_camera_in_common_and_lose_no_photograph(held_out):
    whole = Photographs(held_out, "validation")
    one, other = halves(whole)
    assert {row.camera_key for row in one.rows}.isdisjoint(row.camera_key for row in other.rows)
    assert sorted(row.file for row in [*one.rows, *other.rows]) == sorted(row.file for row in whole.rows)
    assert len(one.cumulative) == len(one.rows)
    assert one.cumulative[-1] == pytest.approx(1.0)


def test_photographs_of_one_camera_have_no_halves(held_out):
    whole = Photographs(held_out, "validation")
    whole.rows = whole.rows[:2]
    with pytest.raises(sdk.BadSetting, match="are of one camera"):
        halves(whole)


def test_members_that_would_not_be_found_again_are_refused(held_out, tmp_path, capsys):
    for name in toy_ensemble.NAMES:
        toy.build(tmp_path / "here" / name, name=name)
    names = [str(tmp_path / "here" / name) for name in toy_ensemble.NAMES]
    for given, out, words in (
        (names, "there", "its ensemble would look for it in"),
        ([names[0], *names[:1]], "here", "an ensemble is of two models or more"),
    ):
        options = ["--photographs", str(held_out), "--out", str(tmp_path / out)]
        assert commands.main(["ensemble", *given, *options]) == 2
        assert words in capsys.readouterr().err


def test_an_ensemble_of_ensembles_is_refused(held_out, tmp_path, capsys):
    both = toy_ensemble.build(tmp_path)
    options = ["--photographs", str(held_out), "--out", str(tmp_path)]
    assert commands.main(["ensemble", str(both), str(tmp_path / "first"), *options]) == 2
    assert "both-0.1 is an ensemble itself" in capsys.readouterr().err


@pytest.mark.parametrize(("shape", "expected"), [((256, 256), 1), ((257, 256), 2), ((1024, 1024), 4)])
def test_a_grid_keeps_so_many_pixels_at_most(shape, expected):
    assert step(shape) == expected
