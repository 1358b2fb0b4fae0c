"""Every CUDA kernel of ours once, for a tool that looks on: a sanitizer, a profiler.

    python -m benchmarks.kernels_once [--full] [--device cuda]

Small odd sizes, which a sanitizer gets through; ``--full`` takes those that are timed. What was computed is compared
with the reference at the small sizes, and the exit code is 1 where it differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks import kernels
from benchmarks.operators import Call, Case
from benchmarks.sccm_attention import Case as Attention
from benchmarks.zpool2d import Case as Pooling
from kernels.testing import TOLERANCES

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def works(device: str, *, is_full: bool) -> Iterator[Case]:
    """What takes every kernel, in each type: rows that are aligned and that are not, with tensor cores and without."""
    for dtype in PRECISIONS:
        shared = {"threads": 1, "device": device, "dtype": dtype}
        if is_full:
            yield from (kind.of(size, **shared) for kind in (Pooling, Attention) for size in kind.sizes)
            continue
        yield Pooling.of("3x33x47", **shared)
        yield Pooling(channels=2, height=40, width=264, windows=(7, 15, 31, 63, 5), **shared)
        yield from (Attention.of(size, **shared) for size in ("20x300", "144x136", "288x136"))


def ours(work: Case) -> Iterator[Call]:
    """Our kernels, whatever the device: those in CUDA, and those in Triton where they are for this type and device."""
    ways = kernels.OPERATORS[work.op].CONTENDERS["cuda"]
    yield ways["op torch"](work)
    if work.op != Attention.op or find_spec("triton") is None:
        return
    from kernels.sccm_attention import torch_triton

    call = ways["triton torch"](work)
    if torch_triton.reason_against(call.inputs[0]) is None:
        yield call


def differs(work: Case, call: Call) -> str | None:
    """Do it; what is wrong with the answer, if anything is."""
    answer = call()
    if work.device == "cuda":
        torch.cuda.synchronize()
    found = kernels.arrays(answer)
    error, largest = work.error(found), max(float(np.abs(each).max()) for each in found)
    tolerance = TOLERANCES[work.op, PRECISIONS[work.dtype]] * max(1.0, largest)
    return None if error <= tolerance else f"{work} differs by {error:.2e}, more than {tolerance:.0e}"


def main(arguments: list[str] | None = None) -> int:
    """Do all of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels_once", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes that are timed, compared with nothing")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda", help="cpu: for trying the program")
    options = parser.parse_args(arguments)
    wrong = []
    for work in works(options.device, is_full=options.full):
        for call in ours(work):
            if options.full:
                call()
            elif said := differs(work, call):
                wrong.append(said)
    print("\n".join(wrong) or "done", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
