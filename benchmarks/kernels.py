"""Speed of an operator of ours beside its portable form, and beside what memory allows.

    python -m benchmarks.kernels [--rounds 5] [--threads 2] [--only WORD ...] [--host NAME]

Writes ``benchmarks/results/kernels-zpool2d-<host>.json``. Every turn is a process of its own. Run it on a quiet machine
after ``make native``: the load is recorded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from benchmarks.entry import RESULTS, rounded
from benchmarks.measure import summary
from benchmarks.memory import high_water_mib
from benchmarks.provenance import provenance
from benchmarks.zpool2d import CONTENDERS, ONCE, Case, Features
from kernels.zpool2d import reference

FLOOR, BASE = list(CONTENDERS)[:2]
JUDGED_CHANNELS = 2
"""Channels whose scores are compared with the reference: float64 takes its time."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one contender took in one process."""

    wall_ms: float
    """Median over the calls."""
    cpu_ms: float
    """Likewise, of all threads of the process."""
    peak_rss_mib: float
    max_abs: float | None
    """Largest difference from the reference; None for what computes nothing."""


def turn(name: str, case: Case, calls: int) -> Turn:
    """Prepare, call once to warm up, then time ``calls`` calls; what is in ``ONCE`` is called once and no more."""
    call = CONTENDERS[name](case)
    if name not in ONCE:
        call()
    times, z = [], None
    for _ in range(1 if name in ONCE else calls):
        z = None  # free the last result before the next is made
        start, busy = time.perf_counter(), time.process_time()
        z = call()
        times.append((time.perf_counter() - start, time.process_time() - busy))
    wall, cpu = (1e3 * statistics.median(spent) for spent in zip(*times, strict=True))
    peak = high_water_mib()
    return Turn(wall_ms=wall, cpu_ms=cpu, peak_rss_mib=peak, max_abs=None if z is None else error(z, case))


def error(z: Features, case: Case) -> float:
    """Largest difference of the first channels from the reference."""
    x, min_std = case.inputs().values()
    few = slice(None, JUDGED_CHANNELS)
    truth = reference.zpool2d(x[:, few].astype(np.float64), min_std[few].astype(np.float64), case.windows)
    return float(np.abs(z[:, :, few] - truth).max())


def take(name: str, case: Case, calls: int) -> Turn | str:
    """A turn in a fresh process, or in one line why there is none."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(turn, name, case, calls).result()
    except BrokenProcessPool:
        return "its process was ended, which for want of memory is SIGKILL"
    except Exception as problem:  # whatever a runtime raises is the reason that is recorded
        return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"


def rounds(names: list[str], case: Case, *, count: int, calls: int) -> tuple[dict[str, list[Turn]], dict[str, str]]:
    """Each contender's turn in each round, first place going round, and why some have none."""
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    absent: dict[str, str] = {}
    for index in range(count):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            if name in absent or (name in ONCE and turns[name]):
                continue
            found = take(name, case, calls)
            if isinstance(found, str):
                absent[name] = found
            else:
                turns[name].append(found)
    return {name: taken for name, taken in turns.items() if taken and name not in absent}, absent


def rows(turns: Mapping[str, list[Turn]], case: Case) -> list[dict[str, object]]:
    """Time, bandwidth and error of each contender, and its times over the operator's and over the floor's."""
    table = []
    for name, taken in turns.items():
        timing = summary([one.wall_ms for one in taken])
        table.append(
            {
                "contender": name,
                **dataclasses.asdict(timing),
                "cpu_ms": statistics.median(one.cpu_ms for one in taken),
                "gb_per_s": case.least_bytes / timing.median_ms / 1e6,
                "times_op": _over(taken, turns.get(BASE)),
                "times_floor": _over(taken, turns.get(FLOOR)),
                "peak_rss_mib": statistics.median(one.peak_rss_mib for one in taken),
                "max_abs": taken[0].max_abs,
            }
        )
    return table


def _over(taken: list[Turn], others: list[Turn] | None) -> float | None:
    """Median of the ratios in the same round; of one turn, over the other's median."""
    if not others:
        return None
    if len(taken) != len(others):
        return taken[0].wall_ms / statistics.median(other.wall_ms for other in others)
    return statistics.median(one.wall_ms / other.wall_ms for one, other in zip(taken, others, strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--height", type=int, default=1080, help="px")
    parser.add_argument("--width", type=int, default=1920, help="px")
    parser.add_argument("--windows", type=int, nargs="+", default=[7, 15, 31], help="px, odd")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3, help="in each turn, after one that is thrown away")
    parser.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    case = Case(
        channels=options.channels, height=options.height, width=options.width, windows=tuple(options.windows),
        threads=options.threads,
    )  # fmt: skip
    names = [name for name in CONTENDERS if not options.only or any(word in name for word in options.only)]
    turns, absent = rounds(names, case, count=options.rounds, calls=options.calls)
    result = {
        "schema": 1,
        "kind": "kernels",
        "op": "zpool2d",
        "case": dataclasses.asdict(case) | {"dtype": "float32", "least_bytes": case.least_bytes},
        "protocol": {"rounds": options.rounds, "calls": options.calls, "warmup": 1, "once": sorted(ONCE & {*names})},
        "provenance": provenance(),
        "rows": rows(turns, case),
        "absent": absent,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"kernels-zpool2d-{options.host}.json"
    text = json.dumps(rounded(result, hide=str(Path(__file__).parents[1])), indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
