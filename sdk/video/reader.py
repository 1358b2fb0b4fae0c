"""Videos to RGB pixels, by PyAV (FFmpeg): what training's samples of video went through, and as they did.

* colour: matrix and range are those that the stream names; where it names none, what is taken is said in a note;
* nothing is resampled but chroma, nothing turned: the display matrix becomes an EXIF orientation;
* more than 8 bits become 8, interlaced fields stay interleaved, HDR is not tone mapped, each with a note;
* containers and codecs are those listed here and no others: a playlist that names other files or hosts is not read.

Imported by the worker process, therefore without NumPy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO

from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, SdkError, UnsupportedImage
from sdk.limits import check_pixels, raising
from sdk.video.complaints import PREMATURE, broken
from sdk.video.ends import within_packet
from sdk.video.limits import VideoLimits

CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,ivf"
"""FFmpeg's names of what files may be; mov reads MP4 and matroska WebM."""
READ = (
    "videos are MP4, MOV, WebM, MKV, AVI, MPEG, FLV, OGG, WMV or rtsp://, and whole: an MP4 that is cut off has lost "
    "its index; a photograph is for analyze"
)
REACH = "see whether the camera is reached from here, and its address with name and password"
CODECS = {
    "av1", "dnxhd", "ffv1", "flv", "h263", "h264", "hevc", "libaom-av1", "libdav1d", "mjpeg", "mpeg1video",
    "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "prores", "theora", "vc1", "vp8", "vp9", "wmv1", "wmv2", "wmv3",
}  # fmt: skip
LIVE = {"format_whitelist": "rtsp,rtp,sdp", "protocol_whitelist": "rtsp,rtp,tcp,udp,tls", "rtsp_transport": "tcp"}
"""TCP, because a lost packet damages frames until the next key frame."""
MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
"""H.273's numbers of the matrices that are undone."""
ASSUMED = {"bt601": 5, "bt709": 1}
"""What may be taken where the stream names no matrix."""
MOST_DAMAGED = 256
"""Damaged packets whose frames are waited for; no codec holds back as many."""
CORRUPT = "Packet corrupt"
"""As FFmpeg says of a packet whose end, or a part of a transport stream, is missing."""
UNNAMED, LIMITED, FULL = 2, 1, 2
TRANSFERS = {16: "PQ", 18: "HLG"}
ORIENTATIONS = {0: 1, 180: 3, -180: 3, -90: 6, 90: 8}
"""EXIF's number for degrees by which a picture is turned for display, counter-clockwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One frame as stored."""

    width: int
    height: int
    time_s: float
    """From the start of the video."""
    decode_ms: float
    orientation: int
    """How it is to be turned for display, as EXIF counts, 1 to 8."""
    decoder: str
    notes: tuple[str, ...]
    damage: str
    """What FFmpeg complained about while it read or decoded this frame or one that this one is predicted from."""
    rows: memoryview
    """RGB, each row ``stride`` bytes of which the first 3 * width are pixels."""
    stride: int


class Reader:
    """Frames of one video, in the order in which they are shown."""

    def __init__(
        self,
        source: BinaryIO | str,
        *,
        name: str,
        limits: VideoLimits,
        matrix: str = "bt601",
        live: bool = False,
        heard: Callable[[], str] = str,
    ) -> None:
        """Open ``source``; ``heard`` gives the lines that FFmpeg printed since it was last asked."""
        self._av = pyav("reading a video")
        self._name, self._limits, self._matrix, self._live = name, limits, matrix, live
        self._count, self._time_s = 0, 0.0
        self._heard, self._damaged = heard, dict[int, str]()
        self._source = source
        options = LIVE if live else {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
        with self._told("cannot be opened as a video", REACH if live else READ):
            self._container = self._av.open(source, options={**options, "codec_whitelist": ",".join(sorted(CODECS))})
            self._stream = self._container.streams.best("video")
        if self._stream is None:
            raise UnsupportedImage(f"{name} holds no video", remedy="give a file with pictures in it")
        context = self._stream.codec_context
        if context is None or context.name not in CODECS:
            codec = "an unknown codec" if context is None else context.name
            raise UnsupportedImage(
                f"{name} is coded with {codec}, which is not decoded here",
                remedy=f"use one of: {', '.join(sorted(CODECS))}",
            )
        check_pixels(name, (context.width, context.height), limits)
        self._check_frames(self._stream.frames)
        context.options = {"max_pixels": str(limits.pixels)}
        # What FFmpeg complains about then belongs to the packet that it was given, and a live picture is not late.
        self._stream.thread_type = "SLICE"
        self._zero: int | None = None if live else self._stream.start_time
        self._format = self._container.format.name
        self._broken = ""
        self._lost()  # packets that were looked at for the header will be decoded again, lost ones not be told of again
        if self._broken and self._format != "ogg":  # which does not find its start again when it is damaged
            with contextlib.suppress(self._av.FFmpegError):
                self._container.seek(self._stream.start_time or 0, stream=self._stream)
        self._frames = self._decoded()

    def read(self) -> Picture | None:
        """The next frame; None after the last.

        Raises:
            DecodeFailed: the file is damaged, or cut off: told after its last frame that can be read.
            LimitExceeded: a frame has too many pixels, or there are too many frames.
        """
        start = time.perf_counter()
        with self._told(f"cannot be decoded after frame {self._count}", "what came before it is good; fetch it again"):
            frame = next(self._frames, None)
        if frame is None:
            return None
        self._count += 1
        if not self._live:
            self._check_frames(self._count)
        check_pixels(self._name, (frame.width, frame.height), self._limits)
        with self._told(f"cannot be turned into RGB at frame {self._count}", "convert it to yuv420p"):
            return self._picture(frame, start)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _check_frames(self, frames: int) -> None:
        if frames > self._limits.frames:
            raise LimitExceeded(
                f"{self._name} has {frames:,} frames or more, over the limit frames={self._limits.frames:,}",
                remedy=raising(self._limits, frames=max(frames, 2 * self._limits.frames)),
            )

    def _decoded(self) -> Iterator[Any]:
        """Frames of every packet. Of a live source damaged packets are left out.

        Damage lasts until the next key frame: what comes before that is predicted from what is damaged.
        """
        packets, last, is_cut, was_corrupt, damage = 0, -1, False, False, ""
        for packet in self._container.demux():
            # A transport stream has gaps anywhere; in other files a packet is incomplete where the file ends.
            is_cut |= packet.is_corrupt and self._format != "mpegts"
            if packet.stream_index != self._stream.index:
                continue
            packets += packet.size > 0
            last = last if packet.pos is None else packet.pos
            lost, printed = self._lost()
            damage = "" if packet.is_keyframe else lost or damage
            if packet.is_corrupt or was_corrupt:  # FFmpeg marks the packet before the one with the gap, too
                damage = CORRUPT
            was_corrupt = packet.is_corrupt
            try:
                frames = packet.decode()
                damage = _last(printed + self._heard()) or damage
            except self._av.FFmpegError as error:
                if packet.is_corrupt and not self._live:
                    for frame in self._stream.decode(None):  # whole ones, held back because of their order
                        frame.time_base = packet.time_base
                        yield frame
                    raise self._cut_off() from error
                if not self._live:
                    raise
                frames, damage = [], _last(self._heard()) or str(error)
            if damage and packet.pts is not None:
                self._note_damage(packet.pts, damage)
            yield from frames
        if not isinstance(self._source, str):
            is_cut |= within_packet(self._source, self._format, last=last)
            self._check_end(packets, is_cut=is_cut)

    def _lost(self) -> tuple[str, str]:
        """What was printed while a packet was fetched: of packets lost before it, or of anything else."""
        printed = self._heard()
        lost = "" if self._live else broken(self._format, printed)
        self._broken = lost or self._broken
        return lost, "" if lost else printed

    def _check_end(self, packets: int, *, is_cut: bool) -> None:
        """Raise if the file is not whole, though it could be read up to its end."""
        if is_cut or PREMATURE in self._broken:
            raise self._cut_off()
        if self._broken:
            raise DecodeFailed(
                f"{self._name} is damaged, and frames may be missing before its end: {self._broken}",
                remedy="the frames that it gave without damage are good; fetch the whole file",
            )
        if "mov" in self._format and packets < self._stream.frames:  # other headers only estimate
            raise DecodeFailed(
                f"{self._name} is cut off: it announces {self._stream.frames} frames and holds {packets}",
                remedy="the frames that it holds are good; fetch the whole file",
            )

    def _cut_off(self) -> DecodeFailed:
        return DecodeFailed(
            f"{self._name} is cut off after frame {self._count}",
            remedy="the frames before it are good; fetch the whole file",
        )

    def _note_damage(self, pts: int, damage: str) -> None:
        """Remember damage until the frame comes out, which is later; some never do."""
        self._damaged[pts] = damage
        if len(self._damaged) > MOST_DAMAGED:
            del self._damaged[next(iter(self._damaged))]

    def _picture(self, frame: Any, start: float) -> Picture:  # noqa: ANN401  PyAV is an extra
        matrix, span, colour, notes = self._colour(frame)
        time_s, started_anew = self._time(frame)
        if started_anew:
            notes.append("the time stamps start anew here; times go on from the frame before")
        converted = frame.reformat(format="rgb24", src_colorspace=matrix, src_color_range=span)
        plane = converted.planes[0]
        rotation = round(frame.rotation)
        if rotation not in ORIENTATIONS:
            notes.append(f"a rotation for display by {rotation} degrees was left aside")
        versions = self._av.library_versions["libavcodec"]
        library = f"FFmpeg libavcodec {'.'.join(map(str, versions))} (PyAV {self._av.__version__})"
        return Picture(
            width=frame.width,
            height=frame.height,
            time_s=time_s,
            decode_ms=1e3 * (time.perf_counter() - start),
            orientation=ORIENTATIONS.get(rotation, 1),
            decoder=f"{library}: {self._stream.codec_context.name}, {frame.format.name}, {colour}",
            notes=(*notes, *_notes(frame)),
            damage=self._damaged.pop(frame.pts, ""),
            rows=memoryview(plane),
            stride=plane.line_size,
        )

    def _colour(self, frame: Any) -> tuple[int | None, int | None, str, list[str]]:  # noqa: ANN401
        """Matrix and range by FFmpeg's numbers, both in words, and notes on what the stream does not say."""
        if frame.format.is_rgb or len(frame.format.components) == 1:
            return None, None, "no matrix", []
        matrix, span, notes = int(frame.colorspace), int(frame.color_range), []
        if matrix == UNNAMED:
            matrix = ASSUMED[self._matrix]
            notes.append(f"the stream names no matrix; {MATRICES[matrix]} was taken")
        if matrix not in MATRICES:
            raise UnsupportedImage(
                f"{self._name} has the colour matrix {matrix} of H.273, which is not undone here",
                remedy=f"convert it to one of: {', '.join(dict.fromkeys(MATRICES.values()))}",
            )
        if frame.format.name.startswith("yuvj"):
            span = FULL
        if span not in (LIMITED, FULL):
            span = LIMITED
            notes.append("the stream names no range; limited was taken")
        return matrix, span, f"{MATRICES[matrix]}, {'full' if span == FULL else 'limited'} range", notes

    def _time(self, frame: Any) -> tuple[float, bool]:  # noqa: ANN401
        """Seconds from the start, and whether time stamps start anew, as they do where files were joined.

        Of a frame without a time stamp, or where they start anew, one frame after the one before.
        """
        following = self._time_s + float(1 / (self._stream.average_rate or 25)) if self._count > 1 else 0.0
        if frame.pts is None:
            self._time_s = following
            return following, False
        if self._zero is None:  # of a live source, whose first frames may lack them
            self._zero = frame.pts - round(following / frame.time_base)
        time_s = float((frame.pts - self._zero) * frame.time_base)
        started_anew = self._count > 1 and time_s < self._time_s
        if started_anew:
            self._zero = frame.pts - round(following / frame.time_base)
            time_s = following
        self._time_s = time_s
        return time_s, started_anew

    @contextlib.contextmanager
    def _told(self, problem: str, remedy: str) -> Iterator[None]:
        """Errors of FFmpeg as ours."""
        try:
            yield
        except SdkError:
            raise
        except MemoryError as error:
            raise LimitExceeded(
                f"{self._name} needs more memory than the limit memory={self._limits.memory:,}",
                remedy=raising(self._limits, memory="..."),
            ) from error
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DecodeFailed(f"{self._name} {problem}: {reason}", remedy=remedy) from error


def _notes(frame: Any) -> Iterator[str]:  # noqa: ANN401
    """What a frame has that 8-bit RGB has not."""
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        yield f"{bits}-bit samples were reduced to 8"
    if frame.color_trc in TRANSFERS:
        yield f"HDR ({TRANSFERS[frame.color_trc]}) was not tone mapped"
    if frame.interlaced_frame:
        yield "interlaced: two fields in one frame"


def _last(printed: str) -> str:
    """Of what FFmpeg printed, the last line, which is about the whole frame."""
    return printed.strip().rpartition("\n")[2]


def pyav(purpose: str) -> ModuleType:
    """PyAV, or the error that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("av", extra="video", purpose=purpose, why=_why(error)) from error
    return av


def _why(error: ImportError) -> str:
    """Nothing where the package is simply not there."""
    return "" if isinstance(error, ModuleNotFoundError) and error.name == "av" else str(error)


def described(picture: Picture) -> Mapping[str, Any]:
    """All but the pixels, of plain types."""
    names = ("width", "height", "time_s", "decode_ms", "orientation", "decoder", "damage")
    return {**{name: getattr(picture, name) for name in names}, "notes": list(picture.notes)}
