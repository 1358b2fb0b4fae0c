"""Speed of an operator of ours beside its portable form, and beside what the machine allows.

    python -m benchmarks.kernels [--op sccm_attention] [--device cuda] [--rounds 5] [--only WORD ...] [--host NAME]

The floor is memory's for ZPool2D, that of the matrix products alone for SCCM attention. Writes
``benchmarks/results/kernels-<op>-<host>.json``. Every turn is a process of its own. Run it on a quiet machine, after
``make native``, on a GPU after ``python -m kernels cuda``: the load is recorded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import sccm_attention, zpool2d
from benchmarks.entry import RESULTS, rounded
from benchmarks.measure import summary
from benchmarks.memory import high_water_mib
from benchmarks.provenance import provenance

Case = zpool2d.Case | sccm_attention.Case
REPEATS = {"cpu": 1, "cuda": 20}
"""Calls between two looks at the clock: a GPU's take less than starting and waiting for them."""


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


def ways(case: Case) -> ModuleType:
    """The module with all ways to do the work of ``case`` on its device: CONTENDERS, the floor first, and ONCE."""
    return import_module(f"benchmarks.{case.op}{'_cuda' if case.device == 'cuda' else ''}")


def turn(name: str, case: Case, calls: int) -> Turn:
    """Prepare, call once to warm up, then time ``calls`` calls; what is in ``ONCE`` is called once and no more."""
    once, sync = name in ways(case).ONCE, waits(case.device)
    call = ways(case).CONTENDERS[name](case)
    repeats = 1 if once else REPEATS[case.device]
    if not once:
        call()
    times: list[tuple[float, float]] = []
    answer = None
    for _ in range(1 if once else calls):
        answer = None  # free the last result before the next is made
        sync()
        start, busy = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            answer = call()
        sync()
        times.append(((time.perf_counter() - start) / repeats, (time.process_time() - busy) / repeats))
    wall, cpu = (1e3 * statistics.median(spent) for spent in zip(*times, strict=True))
    peak = high_water_mib()
    worst = None if answer is None else error(answer, case)
    return Turn(wall_ms=wall, cpu_ms=cpu, peak_rss_mib=peak, max_abs=worst)


def waits(device: str) -> Callable[[], object]:
    """Waits for all that was put on the device."""
    if device == "cpu":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def error(answer: object, case: Case) -> float:
    """Largest difference of what a contender answered, arrays or tensors, from the reference."""
    several = answer if isinstance(answer, (tuple, list)) else (answer,)
    arrays = [each if isinstance(each, np.ndarray) else _array(each) for each in several]
    return float(ways(case).error(arrays, case))


def _array(tensor: Any) -> np.ndarray:  # noqa: ANN401  of torch or of ONNX Runtime
    return tensor.float().cpu().numpy() if hasattr(tensor, "cpu") else tensor.numpy().astype(np.float32)


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
            if name in absent or (name in ways(case).ONCE and turns[name]):
                continue
            found = take(name, case, calls)
            if isinstance(found, str):
                absent[name] = found
            else:
                turns[name].append(found)
    return {name: taken for name, taken in turns.items() if taken and name not in absent}, absent


def rows(turns: Mapping[str, list[Turn]], case: Case) -> list[dict[str, object]]:
    """Time, bandwidth, rate and error of each contender, and its times over the operator's and over the floor's."""
    floor, base = list(ways(case).CONTENDERS)[:2]
    table = []
    for name, taken in turns.items():
        timing = summary([one.wall_ms for one in taken])
        table.append(
            {
                "contender": name,
                **dataclasses.asdict(timing),
                "cpu_ms": statistics.median(one.cpu_ms for one in taken),
                "gb_per_s": case.least_bytes / timing.median_ms / 1e6,
                "tflop_per_s": case.least_flop and case.least_flop / timing.median_ms / 1e9,
                "times_op": _over(taken, turns.get(base)),
                "times_floor": _over(taken, turns.get(floor)),
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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    root.add_argument("--op", choices=["zpool2d", "sccm_attention"], default="zpool2d")
    root.add_argument("--device", choices=sorted(REPEATS), default="cpu")
    root.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="on a GPU")
    root.add_argument("--channels", type=int, help="64 of ZPool2D, 288 of SCCM attention")
    root.add_argument("--height", type=int, default=1080, help="px, of ZPool2D")
    root.add_argument("--width", type=int, default=1920, help="px, of ZPool2D")
    root.add_argument("--windows", type=int, nargs="+", default=[7, 15, 31], help="px, odd, of ZPool2D")
    root.add_argument("--positions", type=int, default=4096, help="of SCCM attention")
    root.add_argument("--batch", type=int, default=1, help="of SCCM attention")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--rounds", type=int, default=5)
    root.add_argument("--calls", type=int, default=3, help="in each turn, after one that is thrown away")
    root.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    root.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def case_of(options: argparse.Namespace) -> Case:
    """The work that was asked for."""
    shared = {"threads": options.threads, "device": options.device, "dtype": options.dtype}
    if options.op == "sccm_attention":
        return sccm_attention.Case(
            batch=options.batch, channels=options.channels or 288, positions=options.positions, **shared
        )
    size = {"height": options.height, "width": options.width, "windows": tuple(options.windows)}
    return zpool2d.Case(channels=options.channels or 64, **size, **shared)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    options = parser().parse_args(arguments)
    case = case_of(options)
    known = ways(case).CONTENDERS
    names = [name for name in known if not options.only or any(word in name for word in options.only)]
    turns, absent = rounds(names, case, count=options.rounds, calls=options.calls)
    once = sorted(ways(case).ONCE & {*names})
    repeats = REPEATS[case.device]
    result = {
        "schema": 1,
        "kind": "kernels",
        "op": case.op,
        "case": dataclasses.asdict(case) | {"least_bytes": case.least_bytes, "least_flop": case.least_flop},
        "protocol": {
            "rounds": options.rounds, "calls": options.calls, "repeats": repeats, "warmup": 1, "once": once,
        },
        "provenance": provenance(),
        "rows": rows(turns, case),
        "absent": absent,
    }  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"kernels-{case.op}-{options.host}.json"
    text = json.dumps(rounded(result, hide=str(Path(__file__).parents[1])), indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
