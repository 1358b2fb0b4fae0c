"""Frames that a container lost are told of, and sound files of every kind raise nothing."""

from __future__ import annotations

import io

import av
import pytest

from sdk.errors import DecodeFailed
from sdk.source import Settings
from sdk.sources import video
from sdk.video.complaints import broken
from sdk.video.ends import within_packet
from sdk.video.limits import VideoLimits
from sdk.video.reader import Reader
from tests.sdk.videos import make, noise

COUNT = 12
MPEG = {"codec": "mpeg2video", "clock": 25}
VP8 = {"codec": "libvpx", "options": {"g": "4", "auto-alt-ref": "0"}}
H264 = {"options": {"g": "4", "bf": "0", "sc_threshold": "0"}}
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
GAP = [*(index / 25 for index in range(6)), *(2 + index / 7 for index in range(6))]
"""Seconds, at a rate that varies."""


def read(path) -> tuple[list[str], str]:
    """The damage of every frame, and the error at the end."""
    got = []
    try:
        got.extend(one.damage for one in video.read(path, Settings()))
    except DecodeFailed as error:
        return got, str(error)
    return got, ""


def places(path) -> list[tuple[int, int]]:
    """Where the bytes of every packet begin and end."""
    data = path.read_bytes()
    with av.open(str(path)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    starts = [data.index(packet[-40:]) + 40 - len(packet) for packet in packets]
    return [(start, start + len(packet)) for start, packet in zip(starts, packets, strict=True)]


def spoil(path, start: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + len(content)] = content
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("a.mkv", H264), ("a.webm", VP8), ("a.flv", H264), ("a.ogv", VP8)],
    ids=["mkv", "webm", "flv", "ogg"],
)
def test_frames_that_a_container_lost_are_an_error_at_the_end(tmp_path, rng, name, settings):
    path = make(tmp_path / name, noise(rng, COUNT), **settings)
    start, _ = places(path)[6]
    spoil(path, start - 24, rng.bytes(48))
    got, error = read(path)
    assert 6 <= len(got) < COUNT
    assert "is damaged, and frames may be missing before its end: [" in error
    assert "\n  -> the frames that it gave without damage are good; fetch the whole file" in error


@pytest.mark.parametrize(
    ("place", "content", "complaint"),
    [
        (2, b"\xff" * 4, "packet fragment position invalid 4294967295"), (7, b"\xff" * 4, "packet_obj_size -1 invalid"),
        (6, b"\x07", "unexpected packet_replic_size of 7"), (15, b"\xff" * 2, "packet_frag_size is invalid (65535>"),
    ],
    ids=["offset", "size", "further fields", "length"],
)  # fmt: skip
def test_frames_that_a_wmv_lost_are_an_error_at_the_end(tmp_path, rng, place, content, complaint):
    path = make(tmp_path / "a.wmv", noise(rng, COUNT), codec="wmv2")
    parts = path.read_bytes().index(ASF_DATA) + 50
    spoil(path, parts + 5 * 3200 + 12 + place, content)  # in the first piece of a frame that the sixth part holds
    got, error = read(path)
    assert 6 <= len(got) < COUNT
    assert f"is damaged, and frames may be missing before its end: [asf] {complaint}" in error


def test_what_comes_after_lost_frames_is_damaged_until_the_next_key_frame(tmp_path, rng):
    path = make(tmp_path / "a.mkv", noise(rng, COUNT), **H264)
    complaint = "[matroska,webm] Element at 0x3 ending at 0x9 exceeds containing master element ending at 0x8"
    printed = ["", *[""] * 10, complaint, *[""] * 99]  # at the header, then before and after each packet is decoded
    with path.open("rb") as file:
        reader = Reader(file, name="a.mkv", limits=VideoLimits(), heard=lambda: printed.pop(0))
        got = [reader.read().damage for _ in range(COUNT)]
        with pytest.raises(DecodeFailed, match=r"a\.mkv is damaged, and frames may be missing before its end: \[matr"):
            reader.read()
        reader.close()
    assert got == [""] * 5 + [complaint] * 3 + [""] * 4


@pytest.mark.parametrize("field", [b"\xff" * 4, b"\x09\xff\xff\xff"], ids=["no tag", "length"])
def test_an_end_that_a_spoilt_tag_swallows_is_cut_off(tmp_path, rng, field):
    path = make(tmp_path / "a.flv", noise(rng, COUNT), **H264)
    start, _ = places(path)[5]
    spoil(path, start - 16, field)
    got, error = read(path)
    assert got == [""] * 5
    assert "is cut off after frame 5" in error


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_packet_that_is_spoilt_is_damage_or_an_error(tmp_path, rng, name):
    path = make(tmp_path / name, noise(rng, COUNT), **H264)
    middle = path.stat().st_size // 2 // 188 * 188
    spoil(path, middle, rng.bytes(376))
    got, error = read(path)
    assert any(got) or error


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mkv", H264), ("a.webm", VP8), ("a.flv", H264), ("a.ts", H264), ("a.avi", {"codec": "mpeg4"}),
        ("a.mpg", MPEG), ("a.mp4", {**H264, "container": {"movflags": "faststart"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_ends_within_a_frame_is_cut_off(tmp_path, rng, name, settings):
    path = make(tmp_path / name, noise(rng, COUNT), **settings)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10 // 188 * 188 + 100])
    got, error = read(path)
    assert 3 <= len(got) < COUNT
    assert "is cut off after frame" in error


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sound.mkv", {"sound": "pcm_s16le"}), ("live.mkv", {"container": {"live": "1"}}), ("a.webm", VP8),
        ("sound.flv", {"sound": "pcm_s16le"}), ("no-duration.flv", {"container": {"flvflags": "no_duration_filesize"}}),
        ("sound.mp4", {"sound": "aac"}), ("parts.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
        ("sound.ts", {"sound": "mp2"}), ("offset.ts", {"container": {"output_ts_offset": "3600"}}),
        ("ordered.ts", {"options": {"bf": "2"}}), ("a.ogv", VP8), ("sound.mpg", {**MPEG, "sound": "mp2"}),
        ("sound.wmv", {"codec": "wmv2", "sound": "pcm_s16le"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_sound_files_raise_nothing_and_lose_nothing(tmp_path, rng, name, settings):
    path = make(tmp_path / name, noise(rng, COUNT), times=GAP, **settings)
    assert read(path) == ([""] * COUNT, "")


PACK, END = bytes.fromhex("000001ba 21"), bytes.fromhex("000001b9")
PICTURES, FILLING = (bytes.fromhex(head) for head in ("000001e0 0003 0f0f0f", "000001be 0002 ffff"))


@pytest.mark.parametrize(
    ("tail", "is_within"),
    [
        (b"", False), (END, False), (END + bytes(5000), False), (bytes(20) + PICTURES, False), (FILLING, False),
        (PACK.ljust(12, b"\0"), False), (b"\0\0\1\xba\x44".ljust(13, b"\0") + b"\xfa\xff\xff", False),
        (bytes.fromhex("000001e0 0000 0f 000001b3"), False), (b"of no such stream", False),
        (bytes(20) + PICTURES[:-1], True), (FILLING[:-1], True), (PACK, True), (PACK[:3], True), (END[:3], True),
        (PICTURES[:4], True), (b"\0\0\1\xba\x44".ljust(13, b"\0") + b"\xfa\xff", True),
    ],
)  # fmt: skip
def test_a_program_stream_is_walked_from_its_last_pictures_to_its_end(tail, is_within):
    start = PACK.ljust(12, b"\0")
    assert within_packet(io.BytesIO(start + PICTURES + tail), "mpeg", last=len(start)) == is_within


@pytest.mark.parametrize(
    ("container", "line", "expected"),
    [
        ("matroska,webm", "[matroska,webm] Element at 0x3 ending at 0x9 exceeds containing master element", True),
        ("matroska,webm", "[matroska,webm] Unknown EBML doctype 'odd'", False),
        ("flv", "[flv] Packet mismatch 7 8 9", True),
        ("flv", "[flv] Keyframe index parsing failed", False),
        ("avi", "Truncating packet of size 7 to 4", True),
        ("avi", "[mpeg4] Error at MB: 3", False),
    ],
)
def test_only_what_says_that_packets_are_lost_counts(container, line, expected):
    assert broken(container, f"[h264] something before\n{line}\n[h264] something after\n") == (line if expected else "")
