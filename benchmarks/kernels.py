"""Speed of an operator of ours beside its portable form, and beside what the machine allows.

    python -m benchmarks.kernels [--op sccm_attention] [--size 288x4096 ...] [--device cuda] [--rounds 5] [--host NAME]

The floor is memory's for ZPool2D, that of the matrix products alone for SCCM attention. Writes
``benchmarks/results/kernels-<op>-<host>.json``. Every turn is a process of its own; on a GPU torch's ways are replayed
as CUDA graphs. Run it on a quiet machine, after ``make native``, on a GPU after ``python -m kernels cuda``: the load is
recorded.
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
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import sccm_attention, zpool2d
from benchmarks.entry import RESULTS, rounded
from benchmarks.measure import summary
from benchmarks.memory import high_water_mib
from benchmarks.operators import Case, InTorch, Way
from benchmarks.provenance import provenance

OPERATORS = {module.Case.op: module for module in (zpool2d, sccm_attention)}
REPEATS = {"cpu": 1, "cuda": 20}
"""Calls between two looks at the clock: a GPU's take less than starting and waiting for them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a turn may go on."""

    calls: int
    """That count, at most."""
    seconds: float
    """For all of them, or for the one that is otherwise thrown away: one call always counts."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one contender took in one process."""

    wall_ms: float
    """Median over the calls."""
    cpu_ms: float
    """Likewise, of all threads of the process."""
    calls: int
    """How many counted; 0 where the first outlasted the patience, and stands for them."""
    peak_rss_mib: float
    max_abs: float | None
    """Largest difference from the reference; None for what computes nothing."""


def ways(case: Case) -> Mapping[str, Way]:
    """All contenders for ``case`` on its device, the floor first."""
    return OPERATORS[case.op].CONTENDERS[case.device]


def turn(name: str, case: Case, patience: Patience) -> Turn:
    """Prepare, call once to warm up, then time as many calls as patience allows."""
    call, sync, repeats = ways(case)[name](case), waits(case.device), REPEATS[case.device]
    if isinstance(call, InTorch) and case.device == "cuda":
        call = call.captured()
    answer: object = None

    def timed(repeats: int = 1) -> tuple[float, float]:
        """Seconds of a call: by the clock, and of all threads."""
        nonlocal answer
        answer = None  # free the last result before the next is made
        sync()
        start, busy = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            answer = call()
        sync()
        return (time.perf_counter() - start) / repeats, (time.process_time() - busy) / repeats

    times, calls = [timed()], 0
    if times[0][0] < patience.seconds:
        calls = min(patience.calls, max(1, int(patience.seconds / (repeats * times[0][0]))))
        times = [timed(repeats) for _ in range(calls)]
    wall, cpu = (1e3 * statistics.median(spent) for spent in zip(*times, strict=True))
    peak = high_water_mib()
    worst = None if answer is None else case.error(arrays(answer))
    return Turn(wall_ms=wall, cpu_ms=cpu, calls=calls, peak_rss_mib=peak, max_abs=worst)


def waits(device: str) -> Callable[[], object]:
    """Waits for all that was put on the device."""
    if device == "cpu":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def arrays(answer: object) -> list[np.ndarray]:
    """What a contender answered, one or several, of whatever kind."""
    several = answer if isinstance(answer, (tuple, list)) else (answer,)
    return [each if isinstance(each, np.ndarray) else _array(each) for each in several]


def _array(tensor: Any) -> np.ndarray:  # noqa: ANN401  of torch or of ONNX Runtime
    return tensor.float().cpu().numpy() if hasattr(tensor, "cpu") else tensor.numpy()


def take(name: str, case: Case, patience: Patience) -> Turn | str:
    """A turn in a fresh process, or in one line why there is none."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(turn, name, case, patience).result()
    except BrokenProcessPool:
        return "its process was ended, which for want of memory is SIGKILL"
    except Exception as problem:  # whatever a runtime raises is the reason that is recorded
        return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"


def rounds(
    names: list[str], case: Case, patience: Patience, *, count: int
) -> tuple[dict[str, list[Turn]], dict[str, str]]:
    """Each contender's turn in each round, first place going round, and why some have none.

    One that outlasts the patience has one turn in all.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    absent: dict[str, str] = {}
    for index in range(count):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            if name in absent or (turns[name] and not turns[name][-1].calls):
                continue
            found = take(name, case, patience)
            if isinstance(found, str):
                absent[name] = found
            else:
                turns[name].append(found)
    return {name: taken for name, taken in turns.items() if taken and name not in absent}, absent


def rows(turns: Mapping[str, list[Turn]], case: Case) -> list[dict[str, object]]:
    """Time, bandwidth, rate and error of each contender, and its times over the operator's and over the floor's."""
    floor, base = list(ways(case))[:2]
    table = []
    for name, taken in turns.items():
        timing = summary([one.wall_ms for one in taken])
        table.append(
            {
                "contender": name,
                **dataclasses.asdict(timing),
                "calls": min(one.calls for one in taken),
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


def measured(case: Case, options: argparse.Namespace) -> dict[str, object]:
    """All that is found of one case."""
    names = [name for name in ways(case) if not options.only or any(word in name for word in options.only)]
    patience = Patience(calls=options.calls, seconds=options.patience)
    turns, absent = rounds(names, case, patience, count=options.rounds)
    least = {"size": case.size, "least_bytes": case.least_bytes, "least_flop": case.least_flop}
    return {"case": least | dataclasses.asdict(case), "rows": rows(turns, case), "absent": absent}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    root.add_argument("--op", choices=list(OPERATORS), default="zpool2d")
    root.add_argument("--size", nargs="+", help="CxHxW of ZPool2D, CxN of SCCM attention; else those of the networks")
    root.add_argument("--device", choices=sorted(REPEATS), default="cpu")
    root.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="on a GPU")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--rounds", type=int, default=5)
    root.add_argument("--calls", type=int, default=3, help="in each turn, after one that is thrown away")
    root.add_argument("--patience", type=float, default=30, help="seconds for the calls of a turn; one always counts")
    root.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    root.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    options = parser().parse_args(arguments)
    kind = OPERATORS[options.op].Case
    shared = {name: getattr(options, name) for name in ("threads", "device", "dtype")}
    protocol = {name: getattr(options, name) for name in ("threads", "rounds", "calls", "patience")}
    floor, base = list(OPERATORS[options.op].CONTENDERS[options.device])[:2]
    result = {
        "schema": 2,
        "kind": "kernels",
        "op": options.op,
        "floor": floor,
        "base": base,
        "protocol": protocol | {"repeats": REPEATS[options.device], "warmup": 1},
        "cases": [measured(kind.of(size, **shared), options) for size in options.size or kind.sizes],
        "provenance": provenance(),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"kernels-{options.op}-{options.host}.json"
    text = json.dumps(rounded(result, hide=str(Path(__file__).parents[1])), indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
