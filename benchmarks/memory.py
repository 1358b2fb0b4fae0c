"""What starts from nothing: import, first analysis, and the peak memory of ``imdl analyze``.

    python -m benchmarks.memory [--artifact psccnet-lite] [--host NAME] [--large]

Writes ``benchmarks/results/memory-<artifact>-<host>.json``; ``--large`` adds a photograph of 24 megapixels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.entry import RESULTS, heading, write
from benchmarks.frames import save_jpeg

PERIOD_S = 0.01
"""A shorter peak of several processes together may be missed; the largest tensors of a frame live for longer."""
FRAMES = {"1080p": (1080, 1920), "24mp": (4000, 6000)}
"""Height and width of the photographs, px."""
WORKING_SIZE = 512
"""Long side of the first analysis, px."""
FIRST_ANALYSIS = """
import sys, time
start = time.perf_counter()
import sdk
imported = time.perf_counter()
with sdk.load(sys.argv[1], working_size=int(sys.argv[2]), threads=int(sys.argv[3])) as analyzer:
    analyzer.analyze(sys.argv[4])
    print(imported - start, time.perf_counter() - imported)
"""


def peak_rss_mib(command: list[str]) -> float:
    """Run ``command`` to its end; its peak, MiB.

    The larger of two figures: resident pages of the process and of all it starts, sampled together (those that
    processes share are counted once for each), and the most that the kernel noted for one of them, whenever it was.
    What ``wait4`` reports is of no use: it begins with the memory of the process that started this one.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            family = _family(process.pid)
            peak = max(peak, sum(_kib(pid, "VmRSS") for pid in family), *(_kib(pid, "VmHWM") for pid in family))
            time.sleep(PERIOD_S)
        words = process.stderr.read() if process.stderr else ""
    if peak == 0 or process.returncode not in (0, 1):  # 1: imdl found something
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n  -> {words.strip()[-500:]}")
    return peak / 1024


def high_water_mib() -> float:
    """The most resident memory that this process ever had, MiB."""
    return _kib(os.getpid(), "VmHWM") / 1024


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(map(int, _read(listing).split()))
    return found


def _kib(pid: int, field: str) -> int:
    fields = dict(line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    return int(fields.get(field, "0 kB").split()[0])


def _read(path: Path) -> str:
    """A file of /proc, empty once its process has gone."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def startup(artifact: Path, file: Path, *, threads: int, repeats: int) -> dict[str, float | int]:
    """Seconds of ``import sdk``, and of loading with the first analysis, each the median of fresh processes."""
    command = [sys.executable, "-c", FIRST_ANALYSIS, str(artifact), str(WORKING_SIZE), str(threads), str(file)]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repeats)]
    imports, analyses = zip(*(map(float, output.split()) for output in outputs), strict=True)
    return {
        "import_s": statistics.median(imports),
        "first_analysis_s": statistics.median(analyses),
        "first_analysis_working_size": WORKING_SIZE,
        "repeats": repeats,
    }


def peaks(artifact: Path, folder: Path, *, large: bool) -> dict[str, float]:
    """MiB that ``imdl analyze`` takes for one file at its own size, in the precision that it chooses."""
    found = {}
    for name, (height, width) in FRAMES.items():
        if name == "1080p" or large:
            file = folder / f"{name}.jpg"
            save_jpeg(file, height=height, width=width)
            command = [sys.executable, "-m", "sdk", "analyze", str(file)]
            options = ["--model", str(artifact), "--working-size", "0"]
            found[f"analyze_{name}_native_peak_rss_mib"] = peak_rss_mib(command + options)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    import sdk

    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes for the times")
    parser.add_argument("--large", action="store_true", help="peak memory at 24 megapixels too")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with sdk.load(options.artifact) as analyzer:
        artifact, precision = analyzer.artifact, analyzer.choice.precision
    with tempfile.TemporaryDirectory() as folder:
        found = peaks(artifact.path, Path(folder), large=options.large)
        file = Path(folder) / "1080p.jpg"
        found |= startup(artifact.path, file, threads=options.threads, repeats=options.repeats)
    result = heading("memory", artifact) | {"threads": options.threads, "precision": precision} | found
    print(write(result, options.results, host=options.host, hide=artifact.path))


if __name__ == "__main__":
    main()
