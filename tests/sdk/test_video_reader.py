"""Videos become the pixels that they hold, with times, turns and colours as the stream names them."""

from __future__ import annotations

import av
import numpy as np
import pytest

from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, UnsupportedImage
from sdk.source import Settings
from sdk.sources import video
from sdk.video import reader
from sdk.video.limits import VideoLimits
from tests.sdk.videos import flat, make, noise, turned

ONE = 1 << 16
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def read(path, *, decode="inline", **settings):
    return list(video.read(path, Settings(decode=decode, **settings)))


def rgb(y: float, u: float, v: float, *, matrix: int, full: bool) -> np.ndarray:
    """One sample by H.273's equations, in float64, 0..255."""
    kr, kb = KR_KB[matrix]
    foot, span, chroma = (0, 255, 255) if full else (16, 219, 224)
    luma, cb, cr = (y - foot) / span, (u - 128) / chroma, (v - 128) / chroma
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return 255 * np.array([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue])


def samples(path) -> tuple[int, int, int]:
    """Y, U and V in the middle of the first frame, as stored."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        return tuple(
            memoryview(plane)[plane.line_size * (plane.height // 2) + plane.width // 2] for plane in frame.planes
        )


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", KR_KB, ids=["709", "601", "2020"])
def test_colours_are_undone_as_the_stream_names_them(tmp_path, matrix, full):
    path = make(tmp_path / "a.mp4", flat((190, 80, 40)), matrix=matrix, color_range=2 if full else 1)
    (one,) = read(path)
    expected = rgb(*samples(path), matrix=matrix, full=full)
    np.testing.assert_allclose(
        one.picture.frame[32, 40], expected, atol=3
    )  # swscale's own tables; another matrix or range is 8 and more away
    assert f"{reader.MATRICES[matrix]}, {'full' if full else 'limited'} range" in one.picture.decoder
    assert one.picture.notes == ()


@pytest.mark.parametrize(("given", "matrix"), [("bt601", 5), ("bt709", 1)])
def test_what_the_stream_does_not_name_is_taken_as_told_and_noted(tmp_path, given, matrix):
    path = make(tmp_path / "a.mp4", flat((190, 80, 40)), matrix=2, color_range=0)
    (one,) = read(path, matrix=given)
    np.testing.assert_allclose(one.picture.frame[32, 40], rgb(*samples(path), matrix=matrix, full=False), atol=3)
    name = reader.MATRICES[matrix]
    assert one.picture.notes == (
        f"the stream names no matrix; {name} was taken",
        "the stream names no range; limited was taken",
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "mov"])
def test_the_worker_and_this_process_read_the_same(tmp_path, rng, suffix):
    path = make(tmp_path / f"a.{suffix}", noise(rng, 5))
    here, there = read(path), read(path, decode="worker")
    assert len(here) == len(there) == 5
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.picture.frame, other.picture.frame)
        assert one.time_s == other.time_s
        assert one.picture.is_video
        assert (one.picture.orientation, one.picture.decoder) == (other.picture.orientation, other.picture.decoder)


@pytest.mark.parametrize(("height", "width"), [(18, 34), (33, 47), (16, 1026)], ids=str)
def test_odd_sizes_keep_every_pixel(tmp_path, rng, height, width):
    frames = noise(rng, 2, height, width)
    path = make(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv444p")
    for one, frame in zip(read(path, decode="worker"), frames, strict=True):
        assert one.picture.frame.shape == (height, width, 3)
        assert np.abs(one.picture.frame.astype(int) - frame).mean() < 3  # there and back through 8-bit YUV


def test_times_are_those_of_the_stream(tmp_path, rng):
    times = [0.0, 0.04, 0.2, 0.24, 1.0]
    path = make(tmp_path / "a.mkv", noise(rng, 5), times=times, options={"bf": "2"})
    assert [one.time_s for one in read(path)] == pytest.approx(times, abs=1e-3)


def test_times_go_on_where_files_were_joined_and_that_is_noted(tmp_path, rng):
    """As ``cat`` joins transport streams: the second's time stamps are those of the first."""
    one = make(tmp_path / "a.ts", noise(rng, 5), codec="mpeg2video", clock=25)
    (tmp_path / "joined.ts").write_bytes(one.read_bytes() * 2)
    frames = read(tmp_path / "joined.ts")
    assert [one.time_s for one in frames] == pytest.approx([index / 25 for index in range(10)], abs=1e-3)
    anew = [any("start anew here" in note for note in one.picture.notes) for one in frames]
    assert anew == [index == 5 for index in range(10)]


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [((0, ONE, -ONE, 0), 6), ((-ONE, 0, 0, -ONE), 3), ((0, -ONE, ONE, 0), 8)],
    ids=["90", "180", "270"],
)
def test_a_turned_clip_is_stored_pixels_and_an_orientation(tmp_path, rng, matrix, orientation):
    path = make(tmp_path / "a.mp4", noise(rng, 1))
    (upright,) = read(path)
    turned(path, matrix)
    (one,) = read(path)
    assert (upright.picture.orientation, one.picture.orientation) == (1, orientation)
    np.testing.assert_array_equal(one.picture.frame, upright.picture.frame)


def test_more_than_eight_bits_are_noted(tmp_path):
    path = make(tmp_path / "a.mkv", flat((190, 80, 40)), codec="ffv1", pix_fmt="yuv420p10le")
    (one,) = read(path)
    assert "10-bit samples were reduced to 8" in one.picture.notes
    np.testing.assert_allclose(one.picture.frame[32, 40], (190, 80, 40), atol=4)


@pytest.mark.parametrize("decode", ["inline", "worker"])
def test_a_file_that_is_cut_off_gives_what_it_holds_and_then_an_error(tmp_path, rng, decode):
    path = make(tmp_path / "a.mp4", noise(rng, 20), options={"g": "1"}, container={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = video.read(path, Settings(decode=decode))
    got = []
    with pytest.raises(DecodeFailed, match=r"is cut off after frame .*\n  -> the frames before it are good"):
        got.extend(one.time_s for one in frames)
    assert got == pytest.approx([index / 25 for index in range(len(got))])
    assert 5 <= len(got) < 15


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_matroska_file_that_is_cut_off_is_no_whole_one(tmp_path, rng, share):
    path = make(tmp_path / "a.mkv", noise(rng, 12))
    whole = path.read_bytes()
    assert len(read(path, decode="worker")) == 12
    path.write_bytes(whole[: int(share * len(whole))])
    got = []
    with pytest.raises(DecodeFailed, match=r"is cut off after frame \d+\n  -> the frames before it are good"):
        got.extend(video.read(path, Settings()))
    assert 3 <= len(got) < 12


def test_frames_that_wait_for_their_order_come_before_the_end_of_a_file_that_is_cut_off(tmp_path, rng):
    path = make(tmp_path / "a.mp4", noise(rng, 12), options={"bf": "2"}, container={"movflags": "faststart"})
    with av.open(str(path)) as file:
        packets = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    start, size = packets[7]
    path.write_bytes(path.read_bytes()[: start + size // 2])
    got = []
    with pytest.raises(DecodeFailed, match="is cut off after frame 7\n"):
        got.extend(one.damage for one in video.read(path, Settings()))
    assert got == [""] * 7


@pytest.mark.parametrize(
    ("distance", "damaged"), [("1", [2]), ("4", [2, 3]), ("9", [2, 3, 4, 5])], ids=["key frames", "few", "one"]
)
def test_damage_is_named_on_the_frame_that_has_it_and_on_those_predicted_from_it(tmp_path, rng, distance, damaged):
    options = {"g": distance, "bf": "0", "sc_threshold": "0"}
    path = make(tmp_path / "a.mkv", noise(rng, 6), options=options)
    with av.open(str(path)) as file:
        packet = next(packet for packet in file.demux(video=0) if packet.pts == 80)  # the third
        middle = path.read_bytes().index(bytes(packet)) + packet.size // 2
    data = bytearray(path.read_bytes())
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    frames = read(path, decode="worker")
    assert [index for index, one in enumerate(frames) if one.damage] == damaged
    assert len(frames) == 6


def test_an_mp4_without_its_index_is_said_to_be_cut_off(tmp_path, rng):
    path = make(tmp_path / "a.mp4", noise(rng, 5))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DecodeFailed, match=r"cannot be opened as a video: .*\n  -> .* an MP4 that is cut off has lost"):
        read(path, decode="worker")


def test_whole_packets_that_are_missing_are_counted(tmp_path, rng):
    path = make(tmp_path / "a.mp4", noise(rng, 20), options={"g": "1"}, container={"movflags": "faststart"})
    with av.open(str(path)) as file:
        end = [packet.pos for packet in file.demux(video=0) if packet.size][12]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DecodeFailed, match="is cut off: it announces 20 frames and holds 12\n  -> the frames that it"):
        read(path)


def test_a_packet_of_garbage_is_an_error_after_the_frames_before_it(tmp_path, rng):
    path = make(tmp_path / "a.mkv", noise(rng, 4), codec="mpeg4")
    with av.open(str(path)) as file:
        packet = next(packet for packet in file.demux(video=0) if packet.pts == 80)
        start = path.read_bytes().index(bytes(packet))
    data = bytearray(path.read_bytes())
    data[start : start + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    got = []
    with pytest.raises(DecodeFailed, match=r"cannot be decoded after frame 2: .*\n  -> what came before it is good"):
        got.extend(video.read(path, Settings()))
    assert len(got) == 2


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "is empty|cannot be opened as a video"),
        (b"garbage" * 99, "cannot be opened as a video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n", "cannot be opened as a video"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "cannot be opened as a video"),
        (b"\xff\xd8\xff\xe0 a photograph", "cannot be opened as a video: .*\n  -> .*a photograph is for analyze"),
    ],
    ids=["empty", "garbage", "playlist", "list of files", "photograph"],
)
def test_what_is_no_video_is_refused(tmp_path, data, error):
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(DecodeFailed, match=error):
        read(path, decode="worker")


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        sound = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        file.mux(sound.encode(frame))
    with pytest.raises(UnsupportedImage, match="holds no video\n  -> give a file with pictures"):
        read(path)


def test_a_codec_that_is_not_listed_is_refused(tmp_path, rng):
    path = make(tmp_path / "a.mkv", noise(rng, 1), codec="rawvideo")
    with pytest.raises(
        UnsupportedImage, match="is coded with rawvideo, which is not decoded here\n  -> use one of: av1"
    ):
        read(path)


@pytest.mark.parametrize("decode", ["inline", "worker"])
@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"bytes": 100}, r"bytes, over the limit bytes=100\n  -> .*VideoLimits\(bytes="),
        ({"pixels": 7000}, r"96 x 80 = 7,680 pixels, over the limit pixels=7,000\n  -> .*VideoLimits\(pixels=7680"),
        ({"frames": 3}, r"has 5 frames or more, over the limit frames=3\n  -> .*limits=sdk\.VideoLimits\(frames="),
    ],
    ids=["bytes", "pixels", "frames"],
)
def test_limits_are_errors_that_name_them(tmp_path, rng, decode, limits, match):
    path = make(tmp_path / "a.mp4", noise(rng, 5))
    with pytest.raises(LimitExceeded, match=match):
        read(path, decode=decode, limits=VideoLimits(**limits))


def test_frames_are_counted_where_the_header_is_silent(tmp_path, rng):
    path = make(tmp_path / "a.mkv", noise(rng, 5))
    got = []
    with pytest.raises(LimitExceeded, match="has 4 frames or more, over the limit frames=3"):
        got.extend(video.read(path, Settings(limits=VideoLimits(frames=3))))
    assert len(got) == 3


def test_a_frame_that_takes_too_long_is_an_error(tmp_path, rng):
    path = make(tmp_path / "a.mp4", noise(rng, 2))
    with pytest.raises(
        LimitExceeded, match=r"a\.mp4 took longer than the limit seconds=1e-06\n  -> .*VideoLimits\(sec"
    ):
        read(path, decode="worker", limits=VideoLimits(seconds=1e-6))


def test_a_missing_extra_is_told_by_both_processes(tmp_path, rng, monkeypatch):
    path = make(tmp_path / "a.mp4", noise(rng, 1))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(
        MissingExtra, match=r"reading a video needs the package av.*\n  -> pip install 'imdl-sdk\[video\]'"
    ):
        read(path)
