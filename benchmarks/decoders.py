"""What other decoders make of the same JPEG files and frames of video, and what that does to scores and verdicts.

    python -m benchmarks.decoders --photographs FOLDER --count 60

Photographs are taken in turns from the folders below FOLDER. Each is decoded by the SDK, whose decoder training used,
and by the others; all frames are analysed as the SDK's own are, with its orientation and JPEG quality, so that nothing
differs but pixels. Then each is coded as a frame of H.264 (4:2:0, BT.709, limited range), which the SDK's reader of
video decodes and the others convert, those among them that repeat chroma or mistake matrix or range as decoders on a
GPU may. Writes ``benchmarks/results/decoders-<model>-<host>.json``. A decoder that is not installed is left out, and
named.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

import sdk
from benchmarks.entry import RESULTS, heading, write
from sdk.inputs import Input
from sdk.source import Settings
from sdk.sources import video

Frame = NDArray[np.uint8]
Decode = Callable[[bytes], Frame]
LONGEST = 1280
"""Longest side of a frame of video, px."""
HEADINGS = {
    "decoder": "decoder", "identical": "of the same pixels", "pixels_mean": "mean difference of pixels",
    "pixels_max": "largest", "scores_mean": "mean difference of scores", "scores_p95": "95th percentile",
    "scores_max": "largest", "verdicts": "verdicts changed",
}  # fmt: skip


def pillow() -> tuple[str, Decode]:
    """Version, and what makes RGB of a JPEG file."""

    def decode(data: bytes) -> Frame:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))

    return f"Pillow {Image.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}", decode


def opencv() -> tuple[str, Decode]:
    """Version, and what makes RGB of a JPEG file."""
    library = re.search(r"^ *JPEG: *(.*)$", cv2.getBuildInformation(), re.MULTILINE)
    told = re.sub(r"build-|[()]|ver ", "", library[1]) if library else "JPEG library unknown"

    def decode(data: bytes) -> Frame:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return np.ascontiguousarray(bgr[:, :, ::-1])

    return f"OpenCV {cv2.__version__}, {told}", decode


def pyav() -> tuple[str, Decode]:
    """Version, and what makes RGB of a JPEG file; colours are converted by FFmpeg's libswscale with its defaults."""
    import av

    def decode(data: bytes) -> Frame:
        with av.open(io.BytesIO(data)) as file:
            return np.asarray(next(file.decode(video=0)).to_ndarray(format="rgb24"))

    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}", decode


def nvimagecodec(options: str = "") -> tuple[str, Decode]:
    """Version, and what makes RGB of a JPEG file on the CPU."""
    from nvidia import nvimgcodec

    backends = [nvimgcodec.Backend(nvimgcodec.CPU_ONLY)]
    decoder = nvimgcodec.Decoder(nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=backends, options=options)
    as_stored = nvimgcodec.DecodeParams(apply_exif_orientation=False)
    told = f"nvImageCodec {nvimgcodec.__version__} on the CPU{f', {options}' if options else ''}"
    return told, lambda data: np.array(decoder.decode(data, params=as_stored))


def plain_nvimagecodec() -> tuple[str, Decode]:
    """:func:`nvimagecodec` with chroma that is repeated and not interpolated, as decoders on a GPU may do it."""
    return nvimagecodec(":fancy_upsampling=0")


DECODERS: Mapping[str, Callable[[], tuple[str, Decode]]] = {
    "Pillow": pillow, "OpenCV": opencv, "PyAV": pyav, "nvImageCodec, CPU": nvimagecodec,
    "nvImageCodec, CPU, chroma repeated": plain_nvimagecodec,
}  # fmt: skip


def opencv_capture() -> tuple[str, Decode]:
    """Version, and what makes RGB of a :func:`film`."""

    def decode(data: bytes) -> Frame:
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(data)
            file.flush()
            video = cv2.VideoCapture(file.name)
            _, bgr = video.read()
            video.release()
        return np.ascontiguousarray(bgr[:, :, ::-1])

    return f"H.264, OpenCV {cv2.__version__}'s VideoCapture", decode


def chroma_repeated() -> tuple[str, Decode]:
    """Name, and what makes RGB of a :func:`film` by BT.709's numbers; samples of chroma stand for four pixels each."""

    def decode(data: bytes) -> Frame:
        luma, blue, red = (
            np.repeat(np.repeat(plane, times, 0), times, 1)
            for plane, times in zip(_planes(data), (1, 2, 2), strict=True)
        )
        y, b, r = (luma - 16.0) / 219, (blue - 128.0) / 224, (red - 128.0) / 224
        rgb = np.stack([y + 1.5748 * r, y - 0.187324 * b - 0.468124 * r, y + 1.8556 * b], axis=2)
        return (255 * rgb).round().clip(0, 255).astype(np.uint8)

    return "H.264, chroma repeated", decode


def matrix_mistaken() -> tuple[str, Decode]:
    """Name, and what makes RGB of a :func:`film` by BT.601's matrix, which is not the stream's."""
    return "H.264, BT.601 for BT.709", lambda data: _converted(data, src_colorspace="ITU601")


def range_mistaken() -> tuple[str, Decode]:
    """Name, and what makes RGB of a :func:`film` as if its limited range were full: black is 16 and white 235."""
    return "H.264, full range for limited", lambda data: _converted(data, src_color_range="JPEG")


def _converted(data: bytes, **how: str) -> Frame:
    import av

    with av.open(io.BytesIO(data)) as file:
        known = {"src_colorspace": "ITU709", "src_color_range": "MPEG"}
        return np.asarray(next(file.decode(video=0)).reformat(format="rgb24", **{**known, **how}).to_ndarray())


def _planes(data: bytes) -> list[NDArray[np.uint8]]:
    import av

    with av.open(io.BytesIO(data)) as file:
        frame = next(file.decode(video=0))
        sides = ((frame.height, frame.width), *[(frame.height // 2, frame.width // 2)] * 2)
        rows = (
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]
            for plane, (height, width) in zip(frame.planes, sides, strict=True)
        )
        return [np.array(plane) for plane in rows]


FILM_DECODERS: Mapping[str, Callable[[], tuple[str, Decode]]] = {
    "OpenCV": opencv_capture, "chroma repeated": chroma_repeated,
    "matrix mistaken": matrix_mistaken, "range mistaken": range_mistaken,
}  # fmt: skip


def film(data: bytes) -> bytes:
    """A photograph as one frame of H.264 in MP4: 4:2:0, BT.709, limited range, sides even and at most 1,280 px."""
    import av

    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((LONGEST, LONGEST))
        even = image.convert("RGB").crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))
    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = even.width, even.height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        frame = av.VideoFrame.from_image(even)
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return written.getvalue()


def filmed(film: bytes) -> Input:
    """The frame of a :func:`film` as the SDK's streams read it."""
    (captured,) = video.read(film, Settings(decode="inline"))
    return captured.picture


def photographs(folder: Path, count: int) -> list[Path]:
    """The first ``count`` JPEG files in colour below ``folder``, in turns from each folder that holds some."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    turns = itertools.zip_longest(*(list(group) for _, group in itertools.groupby(files, key=lambda path: path.parent)))
    usable = (path for turn in turns for path in turn if path is not None and in_colour(path))
    return list(itertools.islice(usable, count))


def in_colour(path: Path) -> bool:
    """Whether it is a whole JPEG of three channels; to grey and CMYK decoders do more than decode."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.format == "JPEG" and image.mode == "RGB"
    except OSError:  # of Pillow, also where it is none or ends early
        return False


def available(decoders: Mapping[str, Callable[[], tuple[str, Decode]]]) -> dict[str, tuple[str, Decode]]:
    """Those that are installed; the others are named."""
    found = {}
    for name, opened in decoders.items():
        try:
            found[name] = opened()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def measured(
    files: Iterable[tuple[bytes, Input]], analyzer: sdk.Analyzer, decoders: Mapping[str, tuple[str, Decode]]
) -> list[dict[str, object]]:
    """For each decoder how its pixels, and the scores and verdicts of them, differ from the SDK's own of each file."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in decoders}
    for data, own in files:
        expected = analyzer.analyze(own)
        for name, (_, decode) in decoders.items():
            frame = decode(data)
            analysis = analyzer.analyze(dataclasses.replace(own, frame=frame))
            apart = cv2.absdiff(frame, np.asarray(own.frame))
            found[name].append({
                "mean": float(apart.mean()), "max": int(apart.max()),
                "score": abs(analysis.score - expected.score),
                "verdict": analysis.verdict.name != expected.verdict.name,
            })  # fmt: skip
    return [{"decoder": name, "version": decoders[name][0], **summed(rows)} for name, rows in found.items()]


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Over all files: grey levels between pixels, of each file the mean; and between scores."""
    scores = [row["score"] for row in rows]
    return {
        "identical": sum(row["max"] == 0 for row in rows),
        "pixels": {"mean": float(np.mean([row["mean"] for row in rows])), "max": max(row["max"] for row in rows)},
        "scores": {
            "mean": float(np.mean(scores)),
            "p95": float(np.quantile(scores, 0.95)),
            "max": max(scores),
        },
        "verdicts_changed": sum(row["verdict"] for row in rows),
    }


def rows(result: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """What of a result is shown, under :data:`HEADINGS`."""
    for row in (*result["decoders"], *result["film_decoders"]):
        figures = {
            f"{what}_{name}": value if isinstance(value, int) else f"{value:.3f}"
            for what in ("pixels", "scores")
            for name, value in row[what].items()
        }
        counts = {"identical": row["identical"], "verdicts": row["verdicts_changed"]}
        yield {"decoder": row["version"], **figures, **counts}


def caption(result: Mapping[str, Any]) -> str:
    """What was measured, and where."""
    machine = result["provenance"]
    return (
        f"{result['photographs']} JPEG files and as many frames of H.264 made of them, `{result['model']}` "
        f"{result['version']} in {result['precision']}. Differences are from what {result['own']} makes of files, and "
        f"{result['film_own']} of frames, those of pixels in grey levels of 255; commit {machine['commit']}, "
        f"{machine['date']}."
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoders", description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="folder of JPEG files, in folders or not")
    parser.add_argument("--count", type=int, default=60, help="how many of them (default: 60)")
    parser.add_argument("--artifact", default="psccnet-lite")
    parser.add_argument("--host", default="cpu", help="name of the machine in the file's name (default: cpu)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    files = photographs(options.photographs, options.count)
    if len(files) < options.count or not files:
        parser.error(f"{options.photographs} holds {len(files)} JPEG files in colour: give another folder or --count")
    decoders, film_decoders = available(DECODERS), available(FILM_DECODERS)
    with sdk.load(options.artifact, device="cpu", precision="f32", decode="inline") as analyzer:
        contents = [file.read_bytes() for file in files]
        films = [film(data) for data in contents]
        result = {
            **heading("decoders", analyzer.artifact),
            "backend": analyzer.choice.backend,
            "precision": analyzer.choice.precision,
            "own": analyzer.read(files[0]).decoder,
            "film_own": filmed(films[0]).decoder,
            "photographs": len(files),
            "left_out": sorted({*DECODERS, *FILM_DECODERS} - {*decoders, *film_decoders}),
            "decoders": measured(((data, analyzer.read(data)) for data in contents), analyzer, decoders),
            "film_decoders": measured(((data, filmed(data)) for data in films), analyzer, film_decoders),
        }
    print(write(result, options.results, host=options.host, hide=options.photographs))


if __name__ == "__main__":
    main()
