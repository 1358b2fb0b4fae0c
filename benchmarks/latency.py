"""Speed and memory of the public interface, beside what the same model takes without it.

    python -m benchmarks.latency [--artifact psccnet-lite] [--host NAME] [--rounds 20] [--only NAME ...]

Writes ``benchmarks/results/latency-<artifact>-<host>.json``. Run it on a quiet machine: the load is recorded.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

import sdk
from benchmarks import contenders
from benchmarks.measure import interleaved
from benchmarks.memory import peak_rss_mib
from benchmarks.provenance import provenance
from sdk.artifact import Artifact

RESULTS = Path(__file__).with_name("results")
SAMPLES = Path(sdk.__file__).with_name("samples")
SIZES = ((512, 512), (1080, 1920))
REFERENCE = "plain onnxruntime f32"
"""Its heatmap is what the others' are compared with."""
FRESH_WEIGHTS = ("eager", "compiled")
OFFERED = ("f32", "bf16")
"""Precisions that are timed where the artifact allows them; an artifact may allow others on other machines."""
FIRST_ANALYSIS = """
import sys, time
start = time.perf_counter()
import sdk
imported = time.perf_counter()
with sdk.load(sys.argv[1], working_size=512, threads=int(sys.argv[2])) as analyzer:
    analyzer.analyze(sys.argv[3])
    print(imported - start, time.perf_counter() - imported)
"""


def field(artifact: Artifact, *, threads: int) -> dict[str, Callable[[], contenders.Call]]:
    """How to load each contender, by name; the last word of a name is its precision."""
    terms = artifact.contract
    torch_model = (terms.model, terms.settings)
    common = {"artifact": artifact.path, "threads": threads}
    entries: dict[str, Callable[[], contenders.Call]] = {
        REFERENCE: functools.partial(contenders.plain_onnxruntime, **common)
    }
    for precision in ("f32", "bf16"):
        entries[f"plain openvino {precision}"] = functools.partial(
            contenders.plain_openvino, precision=precision, **common
        )
    for backend in ("onnxruntime", "openvino"):
        for precision in (name for name in OFFERED if name in terms.precisions):
            load = functools.partial(contenders.ours, backend=backend, precision=precision, **common)
            entries[f"imdl {backend} {precision}"] = load
    for precision in (name for name in OFFERED if name in terms.precisions):
        load = functools.partial(contenders.score_only, backend=None, precision=precision, **common)
        entries[f"imdl score only {precision}"] = load
    entries["eager torch f32"] = functools.partial(contenders.eager, *torch_model, threads=threads)
    entries["compiled torch bf16"] = functools.partial(contenders.compiled, *torch_model, threads=threads)
    return entries


def loaded(entries: Mapping[str, Callable[[], contenders.Call]]) -> tuple[dict[str, contenders.Call], dict[str, str]]:
    """The contenders that can run here, and why the others cannot."""
    ready, absent = {}, {}
    frame = photograph(*SIZES[0])
    for name, load in entries.items():
        try:
            ready[name] = load()
            ready[name](frame)
        except Exception as error:  # whatever a runtime raises is the reason that is recorded
            ready.pop(name, None)
            absent[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ready, absent


def rows(calls: Mapping[str, contenders.Call], *, rounds: int, warmup: int) -> list[dict[str, object]]:
    """One row for each contender and size: time and distance from the reference, together."""
    table = []
    for height, width in SIZES:
        frame = photograph(height, width)
        heatmaps = {name: call(frame) for name, call in calls.items()}
        timings = interleaved(
            {name: functools.partial(call, frame) for name, call in calls.items()}, warmup=warmup, rounds=rounds
        )
        for name, timing in timings.items():
            row = {"contender": name.rpartition(" ")[0], "precision": name.rpartition(" ")[2]}
            size = {"height": height, "width": width}
            table.append(row | size | dataclasses.asdict(timing) | {"max_abs_heatmap": distance(name, heatmaps)})
    return table


def distance(name: str, heatmaps: Mapping[str, contenders.Heatmap | None]) -> float | None:
    """Largest difference from the reference's heatmap; None for fresh weights, and where one of the two is missing."""
    heatmap, reference = heatmaps[name], heatmaps.get(REFERENCE)
    if name.startswith(FRESH_WEIGHTS) or heatmap is None or reference is None:
        return None
    return float(np.abs(heatmap - reference).max())


def photograph(height: int, width: int) -> contenders.Frame:
    """A photograph brought to a size, uint8 [height, width, 3] RGB."""
    frame = cv2.imread(str(SAMPLES / "valley.jpg"))
    return np.ascontiguousarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1])


def in_fresh_processes(artifact: Path, *, threads: int, repeats: int, large: bool) -> dict[str, object]:
    """What a user meets who starts from nothing: import, first analysis, peak memory at 1080p, or at 24 megapixels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "1080p.jpg"
        cv2.imwrite(str(file), photograph(1080, 1920)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        command = [sys.executable, "-c", FIRST_ANALYSIS, str(artifact), str(threads), str(file)]
        outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repeats)]
        seconds = [[float(part) for part in output.split()] for output in outputs]
        peaks = {"analyze_1080p_native_peak_rss_mib": _peak(artifact, file)}
        if large:
            cv2.imwrite(str(file), photograph(4000, 6000)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            peaks["analyze_24mp_native_peak_rss_mib"] = _peak(artifact, file)
        return {
            **peaks,
            "import_s": statistics.median(part[0] for part in seconds),
            "first_analysis_s": statistics.median(part[1] for part in seconds),
            "first_analysis_working_size": 512,
            "repeats": repeats,
        }


def _peak(artifact: Path, file: Path) -> float:
    """MiB that ``imdl analyze`` takes for one file at its own size, in the precision that it chooses."""
    command = [sys.executable, "-m", "sdk", "analyze", str(file), "--model", str(artifact), "--working-size", "0"]
    return peak_rss_mib(command)


def rounded(value: object, *, hide: str) -> object:
    """``value`` as it is committed: four digits of each figure, and the artifact's folder by its name alone."""
    if isinstance(value, dict):
        return {key: rounded(part, hide=hide) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part, hide=hide) for part in value]
    if isinstance(value, str):
        return value.replace(hide, Path(hide).name)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes")
    parser.add_argument("--large", action="store_true", help="peak memory at 24 megapixels too")
    parser.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with sdk.load(options.artifact) as analyzer:
        artifact = analyzer.artifact
    terms = artifact.contract
    wanted = field(artifact, threads=options.threads)
    chosen = {name: load for name, load in wanted.items() if not options.only or any(w in name for w in options.only)}
    calls, absent = loaded(chosen)
    result = {
        "schema": 1,
        "kind": "latency",
        "model": terms.name,
        "version": terms.version,
        "status": terms.status,
        "protocol": {"threads": options.threads, "batch": 1, "rounds": options.rounds, "warmup": options.warmup},
        "provenance": provenance(),
        "rows": rows(calls, rounds=options.rounds, warmup=options.warmup),
        "absent": absent,
        "fresh_processes": in_fresh_processes(
            artifact.path, threads=options.threads, repeats=options.repeats, large=options.large
        ),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"latency-{terms.name}-{options.host}.json"
    result = rounded(result, hide=str(artifact.path))
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
