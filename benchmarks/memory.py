"""What starts from nothing: import, first analysis, and the peak memory of ``imdl analyze``.

    python -m benchmarks.memory [--artifact psccnet-lite] [--host NAME] [--frame 1080p ...]

Writes ``benchmarks/results/memory-<artifact>-<host>.json``. For ManTra-Net, whose plan tiles a frame in two passes,
``--frame 8k`` is the proof that memory stays below :data:`CEILING` however large the frame is: it takes as long as the
arithmetic does, with the bar of ``imdl analyze`` on a terminal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.entry import RESULTS, heading, write
from benchmarks.frames import save_jpeg

PERIOD_S = 0.01
"""A shorter peak of several processes together may be missed; the largest tensors of a frame live for longer."""
FRAMES = {"1080p": (1080, 1920), "24mp": (4000, 6000), "8k": (4320, 7680)}
"""Height and width of the photographs, px."""
CEILING = {"8k": 4096}
"""Resident memory that an analysis has to stay below, MiB."""
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
    """Run ``command`` to its end; its peak, MiB. On a terminal its stderr is ours, so that its bar is seen.

    The larger of two figures: resident pages of the process and of all it starts, sampled together (those that
    processes share are counted once for each), and the most that the kernel noted for one of them, whenever it was.
    What ``wait4`` reports is of no use: it begins with the memory of the process that started this one.
    """
    peak = 0
    stderr = None if sys.stderr.isatty() else subprocess.PIPE
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, text=True) as process:
        while process.poll() is None:
            members = family(process.pid)
            peak = max(peak, sum(kib(pid, "VmRSS") for pid in members), *(kib(pid, "VmHWM") for pid in members))
            time.sleep(PERIOD_S)
        words = process.stderr.read() if process.stderr else ""
    if peak == 0 or process.returncode not in (0, 1):  # 1: imdl found something
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n  -> {words.strip()[-500:]}")
    return peak / 1024


def high_water_mib() -> float:
    """The most resident memory that this process ever had, MiB."""
    return kib(os.getpid(), "VmHWM") / 1024


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(map(int, _read(listing).split()))
    return found


def kib(pid: int, field: str) -> int:
    """A figure of ``/proc/PID/status``, KiB; 0 once the process has gone."""
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


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let what is started meanwhile use only the first ``count`` of this process's cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def peaks(
    artifact: Path, folder: Path, *, frames: Iterable[str], precision: str = "auto", cores: int = 2
) -> dict[str, float | bool]:
    """MiB and seconds that ``imdl analyze`` takes for one file at its own size, on ``cores`` cores.

    Every core has a tile of its own, so that memory grows with them and not with the frame.
    """
    found: dict[str, float | bool] = {}
    for name in frames:
        height, width = FRAMES[name]
        file = folder / f"{name}.jpg"
        save_jpeg(file, height=height, width=width)
        command = [sys.executable, "-m", "sdk", "analyze", str(file), "--model", str(artifact)]
        start = time.perf_counter()
        with on_cores(cores):
            peak = peak_rss_mib([*command, "--working-size", "native", "--precision", precision])
        found[f"analyze_{name}_native_peak_rss_mib"] = peak
        found[f"analyze_{name}_native_s"] = time.perf_counter() - start
        if name in CEILING:
            found[f"analyze_{name}_native_stays_below_{CEILING[name]}_mib"] = peak < CEILING[name]
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    import sdk

    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--threads", type=int, default=2, help="and cores, for the peaks")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes for the times")
    parser.add_argument("--frame", action="append", choices=FRAMES, help="analysed at its own size (default: 1080p)")
    parser.add_argument("--precision", default="auto", help="auto, f32 or bf16")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with sdk.load(options.artifact, precision=options.precision) as analyzer:
        artifact, precision = analyzer.artifact, analyzer.choice.precision
    with tempfile.TemporaryDirectory() as folder:
        frames = dict.fromkeys(options.frame or ["1080p"])
        found = peaks(artifact.path, Path(folder), frames=frames, precision=options.precision, cores=options.threads)
        file = Path(folder) / f"{next(iter(frames))}.jpg"
        found |= startup(artifact.path, file, threads=options.threads, repeats=options.repeats)
    result = heading("memory", artifact) | {"threads": options.threads, "precision": precision} | found
    print(write(result, options.results, host=options.host, hide=artifact.path))


if __name__ == "__main__":
    main()
