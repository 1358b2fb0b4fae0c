"""A folder of awkward files: each ends in a frame or a typed error, soon, quietly and in little memory."""

from __future__ import annotations

import contextlib
import csv
import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import sdk
from sdk.errors import LimitExceeded, SdkError, UnsupportedImage
from tests.sdk.files import saved

WHOLE = ("exif_orientation", "pngsuite", "webp", "avif", "gif", "cmyk_icc_lab", "hdr_gainmap", "malformed_metadata")
"""Categories of files that are sound: what Pillow reads there has to be read here."""


@pytest.fixture(scope="module")
def odd(shared_data):
    return shared_data / "odd"


@pytest.fixture(scope="module")
def rows(odd):
    with (odd / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def starved() -> dict[str, float]:
    """Seconds for which this process and its children, by number, had work to do and got no processor."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = {}
    for process in [str(os.getpid()), *children]:
        with contextlib.suppress(OSError):  # it ended
            found[process] = int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return found


class Timed:
    """The seconds of a block but for those in which others had the processors: a file that hangs counts in full."""

    def __enter__(self) -> Timed:
        self._before, self._start = starved(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        passed = time.perf_counter() - self._start
        self.seconds = passed - sum(time - self._before.get(name, 0.0) for name, time in starved().items())


class Traced:
    """The most memory that a block took at once, bytes, whatever was taken before it."""

    def __enter__(self) -> Traced:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        _, self.peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()


def outcome(decoder, path) -> object:
    try:
        return decoder.decode(path)
    except SdkError as error:
        return error


def test_the_clock_counts_waiting():
    with Timed() as timed:
        time.sleep(0.2)
    assert timed.seconds > 0.15


def test_the_peak_is_of_the_block_alone():
    np.ones(40 * 2**20, np.uint8)
    with Traced() as traced:
        np.ones(20 * 2**20, np.uint8)
    assert 20 * 2**20 <= traced.peak < 21 * 2**20


def test_every_file_ends_soon_quietly_and_small(odd, rows, worker, capfd):
    decoded, largest = 0, 0
    with Traced() as traced:
        for row in rows:
            with Timed() as timed:
                answer = outcome(worker, odd / row["file"])
            assert timed.seconds < 5, row["file"]
            if not isinstance(answer, SdkError):
                decoded, largest = decoded + 1, max(largest, answer.frame.nbytes)
                assert answer.frame.shape == (answer.height, answer.width, 3)
                assert 1 <= answer.orientation <= 8
    assert capfd.readouterr() == ("", "")
    assert traced.peak < 2 * largest  # an answer is kept while the next file is decoded
    assert len(rows) == 822
    assert decoded >= 482  # what Pillow 13.0 reads of them; another version may read more


def test_what_was_compressed_beyond_all_training_is_inconclusive(odd):
    analysis = sdk.analyze(odd / "edge_sizes" / "q1.jpg")
    assert (analysis.verdict.name, analysis.verdict.reason[:31]) == ("inconclusive", "the file is a JPEG of quality 1")


def test_sound_files_are_read(odd, rows, worker):
    for row in rows:
        if row["pillow"].startswith("ok"):
            answer = outcome(worker, odd / row["file"])
            if row["pillow"].endswith(" frames=1") and row["category"] in WHOLE:
                assert not isinstance(answer, SdkError), f"{row['file']}: {answer}"


def test_bombs_are_refused_from_the_header(odd, rows, worker, picture):
    worker.decode(saved(picture, "PNG"))  # its process has started then
    for row in rows:
        if row["category"] == "bombs":
            with Timed() as timed:
                assert isinstance(outcome(worker, odd / row["file"]), LimitExceeded | UnsupportedImage), row["file"]
            assert timed.seconds < 0.5, row["file"]


def test_videos_say_what_to_do(odd, rows, worker):
    for row in rows:
        if row["category"] == "video":
            with pytest.raises(UnsupportedImage, match=r"is a video\n  -> give it to sdk\.stream, or: imdl stream"):
                worker.decode(odd / row["file"])
