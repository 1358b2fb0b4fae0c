"""Streams of image files: every one is a source of its own, and what is wrong with it ends no stream."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import sdk
from sdk.errors import AnalyzerClosed, DecodeFailed, UnsupportedImage
from tests.sdk.clips import grey, level, toy_of_video


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory):
    path = toy_of_video(tmp_path_factory.mktemp("toy"))
    with sdk.load(path, backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded


def test_a_folder_is_read_in_the_order_of_its_numbers(analyzer, tmp_path):
    for number in (1, 2, 10, 100):
        Image.fromarray(grey(10 + number)).save(tmp_path / f"frame-{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    moments = list(sdk.stream(tmp_path, analyzer))
    assert [level(moment) for moment in moments] == [11, 12, 20, 110]
    assert {moment.time_s for moment in moments} == {None}
    assert not sdk.stream(str(tmp_path), analyzer).summary.frames


def test_a_folder_without_images_is_refused(analyzer, tmp_path):
    with pytest.raises(UnsupportedImage, match="is a folder without images"):
        next(sdk.stream(tmp_path, analyzer))


def sour(folder):
    """A folder of five images of which three cannot be analysed, each for a reason of its own."""
    for number, value in ((1, 20), (5, 40)):
        Image.fromarray(grey(value)).save(folder / f"{number}.png")
    (folder / "2.jpg").write_bytes(b"no picture at all")
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes()[:1000])
    (folder / "4.jpg").write_bytes(b"")
    return folder


REASONS = {1: "is of no kind that is known here", 2: "cannot be decoded", 3: "is empty"}


@pytest.mark.parametrize("keep", ["folder", "paths", "bytes"])
def test_a_file_that_fails_is_a_moment_with_its_error_and_the_others_are_analysed(analyzer, tmp_path, keep):
    files = sorted(sour(tmp_path).iterdir())
    source = {"folder": tmp_path, "paths": files, "bytes": [file.read_bytes() for file in files]}[keep]
    moments = sdk.stream(source, analyzer)
    got = list(moments)
    assert [moment.index for moment in got] == [0, 1, 2, 3, 4]
    assert {moment.index: level(moment) for moment in got if moment.analysis} == {0: 20, 4: 40}
    for index, reason in REASONS.items():
        error = got[index].error
        assert got[index].analysis is None
        assert isinstance(error, DecodeFailed | UnsupportedImage)
        assert reason in error.problem
        assert got[index].to_dict()["error"] == {
            "type": type(error).__name__, "problem": error.problem, "remedy": error.remedy,
        }  # fmt: skip
    summary = moments.summary
    assert (summary.ended, summary.frames, summary.failed) == ("complete", 2, 3)


def test_a_file_that_vanishes_is_lost_alone(analyzer, tmp_path):
    for number in range(8):
        Image.fromarray(grey(20 + number)).save(tmp_path / f"{number}.png")
    moments = sdk.stream(tmp_path, analyzer)
    next(moments)
    (tmp_path / "7.png").unlink()
    *others, last = moments
    assert [level(moment) for moment in others] == list(range(21, 27))
    assert "7.png cannot be opened: No such file or directory" in last.error.problem


def test_a_folder_that_may_not_be_read_is_refused(analyzer, tmp_path, monkeypatch):
    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DecodeFailed, match="cannot be read: Permission denied\n  -> check the path, and who may"):
        next(sdk.stream(tmp_path, analyzer))


def test_an_analyzer_that_was_closed_ends_a_folder_too(analyzer, tmp_path):
    Image.fromarray(grey(20)).save(tmp_path / "a.png")
    with sdk.load(analyzer.artifact.path, backend="onnxruntime", threads=1) as loaded:
        moments = sdk.stream([tmp_path / "a.png"] * 9, loaded)
        next(moments)
    with pytest.raises(AnalyzerClosed, match="was closed"):
        list(moments)
