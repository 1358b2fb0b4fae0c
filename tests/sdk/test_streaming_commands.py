"""``imdl stream``: lines for machines, a line that lives for people, and an exit code that answers."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import sdk
from sdk import __main__ as cli
from sdk.contract import Thresholds
from sdk.sources import frames
from sdk.streaming import commands
from tests.sdk import toy
from tests.sdk.test_streaming_results import validated
from tests.sdk.videos import make, noise


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A toy that takes bright frames of video for manipulated, and knows nothing of what frames should look like."""
    levels = {"0.01": 0.6, "0.05": 0.5}
    folder = tmp_path_factory.mktemp("model") / "toy"
    return toy.build(folder, thresholds={"0": Thresholds(photographs=levels, video=levels)}, minimum_side=1)


@pytest.fixture(autouse=True)
def anything_is_a_photograph(monkeypatch):
    monkeypatch.setattr("sdk.verdict.unmeasured", lambda *_, **__: "")


@pytest.fixture
def imdl(model, capsys):
    def run(*arguments: object) -> tuple[int, list[str], str]:
        status = cli.main(["stream", *map(str, arguments), "--model", str(model), "--decode", "inline"])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return run


@pytest.fixture
def clip(tmp_path, rng):
    """Four dark frames, then three bright ones."""
    return make(tmp_path / "clip.mp4", noise(rng, 4, top=100) + [255 - one for one in noise(rng, 3, top=100)])


def test_a_line_for_each_span_and_an_answer(imdl, clip):
    status, lines, words = imdl(clip)
    rows = [line.split("\t") for line in lines]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("no_evidence", "0.00-0.12 s", "0-3"), ("manipulated", "0.16-0.24 s", "4-6"),
    ]  # fmt: skip
    assert status == 1
    assert "7 frames in " in words
    assert "\r" not in words


def test_json_lines_are_as_the_schema_has_them(imdl, clip, tmp_path):
    status, lines, _ = imdl(clip, "--json", "--save", tmp_path / "out.mp4")
    assert status == 1
    for line in lines:
        validated(json.loads(line))
    assert [json.loads(line)["index"] for line in lines[:-1]] == list(range(7))
    assert json.loads(lines[-1])["summary"]["ended"] == "complete"
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 7


def test_the_source_is_never_written_over(imdl, clip):
    before = clip.read_bytes()
    assert imdl(clip, "--save", clip)[0] == 2
    assert clip.read_bytes() == before


@pytest.mark.parametrize("file", ["folder.mp4", "folder", "a.txt/out.mp4"])
def test_where_no_file_can_be_is_refused_before_anything_is_analysed(imdl, clip, tmp_path, file):
    for folder in ("folder.mp4", "folder"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.txt").write_text("")
    status, lines, words = imdl(clip, "--save", tmp_path / file)
    assert (status, lines) == (2, [])
    assert f"{file} cannot be written\n  -> name another file: --save FILE" in words


def test_a_disk_that_is_full_loses_the_video_and_nothing_that_was_found(imdl, clip, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    status, lines, words = imdl(clip, "--json", "--save", tmp_path / "out.mp4")
    assert status == 2
    assert json.loads(lines[-1])["summary"]["frames"] == len(lines) - 1 == 7
    assert "out.mp4 cannot be written: No space left on device\n  -> free its disk, or name another file" in words
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_standard_input_is_no_source(imdl):
    status, lines, words = imdl("-")
    assert (status, lines) == (2, [])
    assert "a stream is not read from standard input\n  -> give a file, or the rtsp:// address" in words


def test_help_tells_the_limits_of_video(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["stream", "--help"])
    assert f"(default: {sdk.VideoLimits().frames:,})" in " ".join(capsys.readouterr().out.split())


def test_nothing_found_is_0_and_no_video_is_2_with_what_was_analysed_so_far(imdl, clip, tmp_path, rng):
    assert imdl(make(tmp_path / "dark.mp4", noise(rng, 2, top=100)))[0] == 0
    status, lines, words = imdl(tmp_path / "missing.mp4", "--json")
    assert (status, len(lines)) == (2, 1)
    assert json.loads(lines[0])["summary"]["ended"] == "failed"
    assert "missing.mp4 cannot be opened: No such file or directory\n  -> check the path" in words
    status, lines, words = imdl(make(tmp_path / "clip.mkv", noise(rng, 5, top=100)), "--max-frames", "3")
    assert (status, [line.split("\t")[3] for line in lines]) == (2, ["0-2"])
    assert "over the limit frames=3\n  -> if it is trusted, raise it: --max-frames 6" in words


def test_an_image_of_a_folder_that_fails_is_told_and_the_others_are_analysed(imdl, tmp_path, rng):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, frame in zip("ac", noise(rng, 2, top=100), strict=True):
        Image.fromarray(frame).save(folder / f"{name}.png")
    (folder / "b.jpg").write_bytes(b"no picture")
    status, lines, words = imdl(folder, "--json", "--save", tmp_path / "out.mkv")
    told = [json.loads(line) for line in lines]
    for line in told:
        validated(line)
    assert status == 2
    assert [("analysis" in line, "error" in line) for line in told[:-1]] == [(1, 0), (0, 1), (1, 0)]
    assert told[1]["error"]["problem"] in words
    assert (told[-1]["summary"]["frames"], told[-1]["summary"]["failed"]) == (2, 1)
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 2
    status, lines, words = imdl(folder)
    assert (status, [line.split("\t")[3] for line in lines]) == (2, ["0-2"])
    assert " 0 damaged, 1 failed\n" in words


def test_a_password_is_not_printed(imdl):
    status, lines, words = imdl("rtsp://user:secret@127.0.0.1:1/camera", "--json")
    assert status == 2
    assert json.loads(lines[0])["source"] == "rtsp://127.0.0.1:1/camera"
    assert "secret" not in words + lines[0]
    assert "\n  -> see whether the camera is reached from here" in words


def test_on_a_terminal_a_line_lives_below(model, capsys, clip):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    import sdk

    terminal = Terminal()
    with sdk.load(model, threads=1) as analyzer, pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "REFRESH_S", 0.0)
        assert len(list(commands.told(sdk.stream(clip, analyzer), terminal))) == 7
    shown = [part.strip() for part in terminal.getvalue().split("\r") if part.strip()]
    assert len(shown) == 6
    assert shown[-1].split(" FPS, ")[1].startswith("0.24 s, frame 6, manipulated 0.")
    assert terminal.getvalue().endswith(" \r")


def test_ctrl_c_ends_it_with_what_was_found(imdl, monkeypatch):
    def interrupted(*_):
        yield from frames.read([np.full((64, 64, 3), 200, np.uint8)] * 2, None)
        raise KeyboardInterrupt

    monkeypatch.setattr("sdk.sources.read", interrupted)
    status, lines, _ = imdl("0", "--json")
    assert status == 1
    summary = json.loads(lines[-1])["summary"]
    assert (summary["ended"], summary["problem"]) == ("closed", None)
    assert summary["frames"] == len(lines) - 1


def test_sigterm_ends_it_as_ctrl_c_does_and_the_video_is_whole(imdl, monkeypatch, tmp_path):
    def terminated(*_):
        yield from frames.read([np.full((64, 64, 3), 200, np.uint8)] * 2, None)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sdk.sources.read", terminated)
    _, lines, _ = imdl("0", "--json", "--save", tmp_path / "out.mkv")
    assert json.loads(lines[-1])["summary"]["ended"] == "closed"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def heeds_interrupts():
    """What a shell starts in the background ignores them, and so does what that starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_ctrl_c_at_a_terminal_leaves_no_process_behind(model, tmp_path, rng):
    """The signal goes to the group, as a terminal sends it; the decoding process ends with its parent.

    More lines than a pipe holds that nobody reads: the stream cannot end before.
    """
    clip = make(tmp_path / "clip.mkv", noise(rng, 1200, top=100))
    command = [sys.executable, "-m", "sdk", "stream", str(clip), "--json", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        first = process.stdout.readline()
        assert first, process.stderr.read().decode()
        children = _children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert json.loads(first)["index"] == 0
    assert json.loads(out.splitlines()[-1])["summary"]["ended"] == "closed"
    assert b"Traceback" not in err
    assert children
    deadline = time.monotonic() + 60
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [child for child in children if _runs(child)]


def _children(pid: int) -> list[int]:
    found = []
    for listing in (Path("/proc") / str(pid) / "task").glob("*/children"):
        found += map(int, listing.read_text().split())
    return found


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return False
