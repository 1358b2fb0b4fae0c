"""What other decoders make of the same JPEG files, and what that does to scores and verdicts.

    python -m benchmarks.decoders --photographs FOLDER --count 60

Photographs are taken in turns from the folders below FOLDER. Each is decoded by the SDK, whose decoder training used,
and by the others; all frames are analysed as the SDK's own are, with its orientation and JPEG quality, so that nothing
differs but pixels. Writes ``benchmarks/results/decoders-<model>-<host>.json``. A decoder that is not installed is left
out, and named.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

import sdk
from benchmarks.entry import RESULTS, heading, write

Frame = NDArray[np.uint8]
Decode = Callable[[bytes], Frame]
HEADINGS = {
    "decoder": "decoder", "identical": "files of the same pixels", "pixels_mean": "mean difference of pixels",
    "pixels_max": "largest", "scores_mean": "mean difference of scores", "scores_p95": "95th percentile",
    "scores_max": "largest", "verdicts": "verdicts changed",
}  # fmt: skip


def pillow() -> tuple[str, Decode]:
    """Version, and the decoder itself."""

    def decode(data: bytes) -> Frame:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))

    return f"Pillow {Image.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}", decode


def opencv() -> tuple[str, Decode]:
    """The same."""
    library = re.search(r"^ *JPEG: *(.*)$", cv2.getBuildInformation(), re.MULTILINE)
    told = re.sub(r"build-|[()]|ver ", "", library[1]) if library else "JPEG library unknown"

    def decode(data: bytes) -> Frame:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return np.ascontiguousarray(bgr[:, :, ::-1])

    return f"OpenCV {cv2.__version__}, {told}", decode


def pyav() -> tuple[str, Decode]:
    """The same; colours are converted by FFmpeg's libswscale with its defaults."""
    import av

    def decode(data: bytes) -> Frame:
        with av.open(io.BytesIO(data)) as file:
            return np.asarray(next(file.decode(video=0)).to_ndarray(format="rgb24"))

    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}", decode


def nvimagecodec(options: str = "") -> tuple[str, Decode]:
    """The same, on the CPU."""
    from nvidia import nvimgcodec

    backends = [nvimgcodec.Backend(nvimgcodec.CPU_ONLY)]
    decoder = nvimgcodec.Decoder(nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=backends, options=options)
    as_stored = nvimgcodec.DecodeParams(apply_exif_orientation=False)
    told = f"nvImageCodec {nvimgcodec.__version__} on the CPU{f', {options}' if options else ''}"
    return told, lambda data: np.array(decoder.decode(data, params=as_stored))


def plain_nvimagecodec() -> tuple[str, Decode]:
    """The same with chroma that is repeated and not interpolated, as decoders on a GPU may do it."""
    return nvimagecodec(":fancy_upsampling=0")


DECODERS: Mapping[str, Callable[[], tuple[str, Decode]]] = {
    "Pillow": pillow, "OpenCV": opencv, "PyAV": pyav, "nvImageCodec, CPU": nvimagecodec,
    "nvImageCodec, CPU, chroma repeated": plain_nvimagecodec,
}  # fmt: skip


def photographs(folder: Path, count: int) -> list[Path]:
    """The first ``count`` JPEG files in colour below ``folder``, in turns from each folder that holds some."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    turns = itertools.zip_longest(*(list(group) for _, group in itertools.groupby(files, key=lambda path: path.parent)))
    usable = (path for turn in turns for path in turn if path is not None and in_colour(path))
    return list(itertools.islice(usable, count))


def in_colour(path: Path) -> bool:
    """Whether it is a JPEG of three channels; to grey and CMYK decoders do more than decode."""
    try:
        with Image.open(path) as image:
            return image.format == "JPEG" and image.mode == "RGB"
    except UnidentifiedImageError:
        return False


def measured(
    files: Sequence[Path], analyzer: sdk.Analyzer, decoders: Mapping[str, tuple[str, Decode]]
) -> list[dict[str, object]]:
    """For each decoder how its pixels, and the scores and verdicts of them, differ from the SDK's own."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in decoders}
    for file in files:
        data = file.read_bytes()
        own = analyzer.read(data)
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
    """Over all photographs: grey levels between pixels, of each photograph the mean; and between scores."""
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
    for row in result["decoders"]:
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
        f"{result['photographs']} JPEG files, `{result['model']}` {result['version']} in {result['precision']}. "
        f"Differences are from what {result['own']} makes of them, those of pixels in grey levels of 255; commit "
        f"{machine['commit']}, {machine['date']}."
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
    decoders = {}
    for name, opened in DECODERS.items():
        try:
            decoders[name] = opened()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    with sdk.load(options.artifact, device="cpu", precision="f32", decode="inline") as analyzer:
        result = {
            **heading("decoders", analyzer.artifact),
            "backend": analyzer.choice.backend,
            "precision": analyzer.choice.precision,
            "own": analyzer.read(files[0]).decoder,
            "photographs": len(files),
            "left_out": sorted(set(DECODERS) - set(decoders)),
            "decoders": measured(files, analyzer, decoders),
        }
    print(write(result, options.results, host=options.host, hide=options.photographs))


if __name__ == "__main__":
    main()
