"""How many samples one core makes for training.

    OMP_NUM_THREADS=1 python -m benchmarks.synthesis --photographs FOLDER [--size 256] [--samples 1000] [--host NAME]

Writes ``benchmarks/results/synthesis-<size>-<host>.json``: the rate on average, which is what training waits for, and
what each kind and each way of life costs. Photographs are decoded beforehand, as they are once training has run for a
while. Run it on a quiet machine: the load is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path

import cv2

from benchmarks.entry import RESULTS, rounded
from benchmarks.provenance import provenance
from training.data import Photographs, Samples

SEED = 1


def measured(samples: Samples, *, count: int, warmup: int) -> dict[str, object]:
    """Rates over samples 0 to ``count - 1``, by the clock and by processor time, and mean ms by kind and by route."""
    for index in range(count, count + warmup):
        samples.sample(index)
    times: dict[str, list[float]] = defaultdict(list)
    busy = time.process_time()
    for index in range(count):
        start = time.perf_counter()
        recipe = samples.sample(index).recipe
        spent = 1e3 * (time.perf_counter() - start)
        for name in ("", f"kind {recipe['kind']}", f"route {recipe['route']}"):
            times[name].append(spent)
    busy = time.process_time() - busy
    every = times.pop("")
    return {
        "samples_per_second": 1e3 * count / sum(every),
        "samples_per_processor_second": count / busy,
        "median_ms": statistics.median(every),
        "p95_ms": statistics.quantiles(every, n=20, method="inclusive")[-1] if count > 1 else every[0],
        "mean_ms": {name: statistics.fmean(spent) for name, spent in sorted(times.items())},
        "shares": {name: len(spent) / count for name, spent in sorted(times.items())},
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--part", choices=("train", "all"), default="train")
    parser.add_argument("--size", type=int, default=256, help="side of the samples, px")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--hardness", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    photographs = Photographs(options.photographs, options.part)
    for index in range(len(photographs.rows)):
        photographs.pixels(index)
    rows = []
    for hardness in options.hardness:
        samples = Samples(photographs, seed=SEED, size=options.size, hardness=hardness)
        rows.append({"hardness": hardness, **measured(samples, count=options.samples, warmup=options.warmup)})
    result = {
        "schema": 1,
        "kind": "synthesis",
        "protocol": {
            "size": options.size, "samples": options.samples, "warmup": options.warmup, "seed": SEED, "processes": 1,
            "opencv_threads": cv2.getNumThreads(), "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "not set"),
            "photographs": len(photographs.rows), "decoded_beforehand": True,
        },
        "provenance": provenance(),
        "rows": rows,
    }  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"synthesis-{options.size}-{options.host}.json"
    result = rounded(result, hide=str(options.photographs))
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
