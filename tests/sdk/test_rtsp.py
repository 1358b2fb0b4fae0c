"""RTSP, from a server of sixty lines on this machine: H.264 over the connection that was asked for."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from sdk.errors import DecodeFailed
from sdk.source import Settings
from sdk.sources import video
from tests.sdk.videos import noise

CLOCK, RATE = 90_000, 25


def coded(frames: list[np.ndarray]) -> list[list[bytes]]:
    """The NAL units of each frame; every frame is a key frame."""
    coder = av.CodecContext.create("libx264", "w")
    coder.height, coder.width, coder.pix_fmt, coder.time_base = *frames[0].shape[:2], "yuv420p", Fraction(1, RATE)
    coder.options = {"tune": "zerolatency", "g": "1", "crf": "25", "x264-params": "repeat-headers=1"}
    coder.thread_count = 1
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p") for frame in frames]
    packets = [bytes(packet) for picture in [*pictures, None] for packet in coder.encode(picture)]
    return [[unit for unit in re.split(b"\0\0\0?\1", packet) if unit] for packet in packets]


class Server(threading.Thread):
    """Answers one client, plays its frames, and hangs up; ``lost`` is the number of a frame that arrives torn."""

    def __init__(self, frames: list[list[bytes]], lost: int | None = None) -> None:
        super().__init__(daemon=True)
        self.frames, self.lost = frames, lost
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://user:secret@127.0.0.1:{self.socket.getsockname()[1]}/camera"
        self.start()

    def run(self) -> None:
        with self.socket, contextlib.suppress(OSError):
            client, _ = self.socket.accept()
            with client, client.makefile("rwb", 0) as line:
                while (request := self._request(line)) and request != "PLAY":
                    pass
                if request == "PLAY":
                    self._play(line)

    def _request(self, line) -> str:
        """Answer one request; its verb."""
        head = list(iter(lambda: line.readline().strip().decode(), ""))
        if not head:
            return ""
        number = next(text.split(":")[1].strip() for text in head if text.lower().startswith("cseq"))
        body, more = b"", "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        verb = head[0].split()[0]
        if verb == "DESCRIBE":
            body, more = self._described(), "Content-Type: application/sdp\r\n"
        line.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return verb

    def _described(self) -> bytes:
        sets = ",".join(base64.b64encode(unit).decode() for unit in self.frames[0] if unit[0] & 31 in (7, 8))
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/{CLOCK}\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets={sets}\r\n"
            "a=control:track\r\n"
        ).encode()

    def _play(self, line) -> None:
        sequence = 0
        for index, units in enumerate(self.frames):
            for unit in units:
                sent = unit[: len(unit) // 4] if index == self.lost and unit[0] & 31 == 5 else unit
                last = 0x80 if unit is units[-1] else 0
                packet = struct.pack("!BBHII", 0x80, last | 96, sequence, 1000 + index * CLOCK // RATE, 7) + sent
                line.write(struct.pack("!BBH", 0x24, 0, len(packet)) + packet)
                sequence += 1


@pytest.fixture
def frames(rng):
    return noise(rng, 8)


@pytest.mark.parametrize("decode", ["worker", "inline"])
def test_frames_of_a_camera_come_with_their_times(frames, decode):
    got = list(video.read(Server(coded(frames)).url, Settings(decode=decode)))
    assert [one.time_s for one in got] == pytest.approx([index / RATE for index in range(8)], abs=1e-3)
    for one, frame in zip(got, frames, strict=True):
        assert one.live
        assert np.abs(one.picture.frame.astype(int) - frame).mean() < 25
        assert "h264" in one.picture.decoder


def test_a_torn_frame_is_named_and_the_stream_goes_on(frames):
    got = list(video.read(Server(coded(frames), lost=4).url, Settings()))
    assert [index for index, one in enumerate(got) if one.damage] == [4]
    assert len(got) == 8


def test_nobody_there_is_an_error_that_keeps_the_password():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = f"rtsp://user:se@cret@127.0.0.1:{port}/camera"
    with pytest.raises(DecodeFailed, match=rf"rtsp://127\.0\.0\.1:{port}/camera cannot be opened") as caught:
        list(video.read(address, Settings()))
    assert "cret" not in str(caught.value)
    assert video.without_password("folder/a@b.mp4") == "folder/a@b.mp4"
