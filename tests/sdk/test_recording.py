"""A recording is a video of the overlays, each at its moment's time, whole whatever ends it."""

from __future__ import annotations

import av
import numpy as np
import pytest

import sdk
from sdk import overlay
from sdk.errors import DecodeFailed, UnsupportedImage
from sdk.streaming.recording import Recording


@pytest.fixture(scope="module")
def analyzer(toy_path):
    with sdk.load(toy_path, backend="onnxruntime", threads=1) as loaded:
        yield loaded


def recorded(path, frames, analyzer) -> list[tuple[float, np.ndarray]]:
    """Write a recording of a stream and read it back."""
    with Recording(path) as recording:
        for moment in sdk.stream(frames, analyzer):
            recording.add(moment)
    return read(path)


def read(path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.colorspace == 1
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(stream)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_every_moment_is_a_frame_at_its_time(tmp_path, analyzer, frame, suffix):
    times = [0.0, 0.1, 0.5, 0.52]
    got = recorded(tmp_path / "deep" / f"a.{suffix}", [(time, frame) for time in times], analyzer)
    assert [time for time, _ in got] == pytest.approx(times, abs=2e-3)
    drawn = overlay.draw(analyzer.analyze(frame))
    height, width = (side // 2 * 2 for side in drawn.shape[:2])
    assert got[0][1].shape == (height, width, 3)
    assert np.abs(got[0][1].astype(int) - drawn[:height, :width]).mean() < 12  # a codec's
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [f"a.{suffix}"]


def test_frames_without_times_are_25_a_second_and_other_sizes_are_brought_to_the_first(tmp_path, analyzer, frame):
    got = recorded(tmp_path / "a.mkv", [frame, frame[:80, :100]], analyzer)
    assert [time for time, _ in got] == pytest.approx([0.0, 0.04], abs=2e-3)
    assert got[0][1].shape == got[1][1].shape


def test_without_x264_the_codec_that_every_ffmpeg_has_writes_it(tmp_path, analyzer, frame, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    assert [time for time, _ in recorded(tmp_path / "a.mp4", [(0.0, frame), (0.5, frame)], analyzer)] == [0.0, 0.5]


def test_what_was_recorded_before_an_error_is_a_whole_file(tmp_path, analyzer, frame):
    def failing():
        yield frame
        yield frame
        raise DecodeFailed("torn", remedy="mend it")

    with pytest.raises(DecodeFailed, match="torn"):
        recorded(tmp_path / "a.mp4", failing(), analyzer)
    assert len(read(tmp_path / "a.mp4")) == 2


def test_nothing_is_written_where_nothing_was_found(tmp_path, analyzer):
    with Recording(tmp_path / "a.mp4"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_no_player_knows_is_refused(tmp_path):
    with pytest.raises(UnsupportedImage, match=r"a video cannot be written as \.gif\n  -> use one of: \.mp4, \.mov"):
        Recording(tmp_path / "a.gif")
