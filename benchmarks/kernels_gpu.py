"""All that has to be known of the CUDA kernels on a GPU, in one go.

    python -m benchmarks.kernels_gpu --host h200 [--dry-run]

Builds them, runs their tests on the card, has compute-sanitizer look on (memcheck, racecheck, synccheck), asks ncu what
of memory's bandwidth and of the tensor cores each kernel uses, and times every way to compute either operator. Writes
``kernels-gpu-<host>.json`` beside what :mod:`benchmarks.kernels` writes. A step that lacks something is left out and
says so; one that fails does not stop the others. ``--dry-run`` prints the commands and runs none. It is the last step
of :mod:`benchmarks.gpu`, too.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks.entry import RESULTS, write
from benchmarks.provenance import provenance
from benchmarks.suite import Step, as_json, carried_out, failed
from benchmarks.turn import ROOT
from kernels import cuda_library
from sdk.engines import gpu

BUDGET_S = 540.0
"""Seconds for all steps together."""
CHECKS = ("memcheck", "racecheck", "synccheck")
OURS = "regex:statistics|zscores|spatial|channel_|merge"
"""Names of our kernels; torch has others."""
SECTIONS = ("SpeedOfLight", "MemoryWorkloadAnalysis", "ComputeWorkloadAnalysis", "Occupancy", "LaunchStats")
FIGURES = re.compile(
    r"gpu__time_duration\.sum|dram__(bytes|throughput)\S*|lts__throughput\S*|sm__throughput\S*|\S*pipe_tensor\S*"
    r"|sm__warps_active\S*|launch__(registers_per_thread|occupancy_limit\w+|waves_per_multiprocessor)"
)
"""Which of ncu's figures are kept: names differ between architectures, so by what they begin with."""


def facts() -> dict[str, str]:
    """What there is of all that is needed, by name; "" is what is missing."""
    tools = {name: shutil.which(name) or "" for name in ("compute-sanitizer", "ncu")}
    nvcc = "" if cuda_library.missing() else "yes"
    return {"gpu": gpu.target() or "", "torch": "yes" if find_spec("torch") else "", "nvcc": nvcc, **tools}


def steps(options: argparse.Namespace, there: Mapping[str, str], profile: Path) -> list[Step]:
    """The suite, what is wanted most first; ncu writes to ``profile``."""
    python = sys.executable

    def step(name: str, *command: str, needs: Iterable[str] = (), limit_s: float = 120) -> Step:
        lacking = [f"{need} was not found" for need in ("gpu", "torch", *needs) if not there[need]]
        return Step(name=name, command=command, lacking=tuple(lacking), limit_s=limit_s)

    once = (python, "-m", "benchmarks.kernels_once")
    planned = [
        step("build", python, "-m", "kernels", "cuda", needs=["nvcc"], limit_s=240),
        step("tests", python, "-m", "pytest", "-q", "-m", "gpu", "tests/kernels", needs=["nvcc"]),
    ]
    results = ("--results", str(options.results))
    for op, rounds in (("zpool2d", "3"), ("sccm_attention", "1")):  # the second at four sizes
        command = (python, "-m", "benchmarks.kernels", "--op", op, "--device", "cuda", "--dtype", options.dtype)
        times = (*command, "--host", options.host, "--rounds", rounds, *results)
        planned.append(step(f"times of {op}", *times, limit_s=240))
    for check in CHECKS:
        sanitizer = ("compute-sanitizer", "--tool", check, "--error-exitcode", "1")
        planned.append(step(check, *sanitizer, *once, needs=["compute-sanitizer"], limit_s=180))
    sections = [word for section in SECTIONS for word in ("--section", section)]
    profiler = ("ncu", "--csv", "--page", "raw", "--log-file", str(profile), "--kernel-name", OURS, *sections)
    planned.append(step("ncu", *profiler, *once, "--full", needs=["ncu"], limit_s=240))
    return planned


def profiled(text: str) -> list[dict[str, object]]:
    """What ncu wrote as raw CSV, a kernel to a row: its name and grid, and each figure that is kept with its unit."""
    lines = [line for line in text.splitlines() if line.startswith('"')]  # it tells of its progress, too
    if len(lines) < 3:
        return []
    names, units, *rows = csv.reader(lines)
    kept = []
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        figures = {
            name: {"value": _number(cells[name]), "unit": unit}
            for name, unit in zip(names, units, strict=True)
            if FIGURES.fullmatch(name)
        }
        kept.append({"kernel": cells["Kernel Name"], "grid": cells.get("Grid Size"), "figures": figures})
    return kept


def _number(text: str) -> float | str:
    """Its thousands may have commas."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.kernels_gpu", description=__doc__)
    root.add_argument("--host", required=True, help="kind of machine, for the files' names")
    root.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16", help="of what is timed")
    root.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    root.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Look, run, write; 1 if a step that could be run failed."""
    options = parser().parse_args(arguments)
    there = facts()
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "ncu.csv"
        planned = steps(options, there, profile)
        if options.dry_run:
            for step in planned:
                print(f"{step.name}: {shlex.join(step.command)}", *(f"  # left out: {why}" for why in step.lacking))
            return 0
        os.environ["REQUIRE_GPU"] = "1"  # a test that is skipped has shown nothing
        came = carried_out(planned, budget_s=options.budget)
        seen = profiled(profile.read_text(encoding="utf-8", errors="replace")) if profile.exists() else []
    result = {
        "schema": 1,
        "kind": "kernels-gpu",
        "there": there,
        "steps": as_json(came),
        "kernels": seen,
        "provenance": provenance(),
    }
    print(write(result, options.results, host=options.host, hide=ROOT))
    return int(failed(came))


if __name__ == "__main__":
    sys.exit(main())
