"""Everything that has to be measured on a GPU, in one go and under eight minutes.

    python -m benchmarks.gpu --artifact artifacts/psccnet --host h200

First looks at what is there, and says what is left out for want of what; without a GPU that is all it does. Then
engines are made and pass the gate, ``benchmarks.throughput`` races them, then eager and compiled PyTorch, and counts
the share of the roofline that is reached; the kernels are built, and all tests run that need a GPU. All of it works on
a copy of the artifact, which gets graphs for engines. Writes ``gpu-<artifact>-<host>.json`` with what came of every
step, beside ``throughput-<artifact>-<host>.json``. Nothing is downloaded. A step that fails does not stop the others;
one that takes too long is ended with all that it started, and cannot use up the time of the races.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.entry import RESULTS, heading, write
from benchmarks.fps import OF_TORCH
from benchmarks.turn import ROOT
from kernels import cuda_library
from sdk import artifact as artifacts
from sdk.artifact import Artifact
from sdk.backends import onnxruntime
from sdk.engines import gpu, trt
from sdk.errors import PrecisionUnavailable

BUDGET_S = 470.0
"""Seconds for all steps together: what a lent machine gives a command, less what writing takes."""
IN_TENSORRT = ("f32", "fp16")
TOLD = 12
"""Last lines of a step's output that are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command of the suite."""

    name: str
    command: tuple[str, ...]
    lacking: tuple[str, ...] = ()
    """Why it is left out, one sentence each; none if it is run."""
    limit_s: float
    reserved_s: float = 0.0
    """What steps before it leave it of the time for all."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """What came of a step."""

    name: str
    seconds: float
    outcome: str
    """"done", "failed", "not in time", or why it was left out."""
    told: tuple[str, ...]


def facts(device: str) -> dict[str, str]:
    """What there is of all that could be measured, by name; "" is what is missing."""
    packages = ("torch", "triton", "onnx", "onnxruntime", *trt.PACKAGES)
    found = {name: "yes" if find_spec(name) else "" for name in packages}
    found["gpu"] = (gpu.target() or "") if device == "cuda" else "none asked for"
    found["nvcc"] = "" if cuda_library.missing() else "yes"
    if found["onnxruntime"]:
        providers = onnxruntime.runtime().get_available_providers()
        found["onnxruntime on CUDA"] = "yes" if "CUDAExecutionProvider" in providers else ""
    return found


def steps(artifact: Artifact, options: argparse.Namespace, there: Mapping[str, str]) -> list[Step]:
    """The suite: engines first, then what times them, then the kernels by themselves."""
    python, path = sys.executable, str(artifact.path)
    no_gpu = () if there["gpu"] else ("no NVIDIA GPU was found",)
    no_torch = tuple(f"{name} is not installed" for name in ("torch", "onnx") if not there[name])
    size = f"{options.size[0]}x{options.size[1]}"
    common = ("--photographs", str(options.photographs.resolve()))
    wanted = precisions(artifact, options.precision)
    engine = (python, "-m", "export", "aotinductor", path, "--device", options.device, "--frame", size, *common)
    no_trt = () if any(there[name] for name in trt.PACKAGES) else ("TensorRT is not installed",)
    typed = [one for one in wanted if one in IN_TENSORRT] or ["f32"]
    build = (python, "-m", "export", "tensorrt", path, "--frame", size, *common, "--precision", *typed)
    # First, because it adds graphs to the artifact, of whose digest packages are made.
    made = [Step(name="tensorrt", command=build, lacking=no_gpu + no_trt + no_torch, limit_s=150)]
    made += [
        Step(
            name=f"aotinductor {precision} at {working_size or 'native'}",
            command=(*engine, "--precision", precision, "--working-size", str(working_size)),
            lacking=no_gpu + no_torch,
            limit_s=150,
        )
        for working_size in options.working_size
        for precision in wanted
    ]
    # Two races: what is wanted most is written before PyTorch compiles for minutes.
    raced = [*dict.fromkeys([*wanted, *(typed if runs_tensorrt(there) else ()), *in_onnxruntime(there)])]
    ours = race(path, options, there, raced, only="imdl", host=options.host, frames=options.frames)
    made.append(Step(name="throughput", command=ours, lacking=no_gpu + no_torch, limit_s=200, reserved_s=170))
    theirs = race(path, options, there, raced, only="torch", host=f"{options.host}{OF_TORCH}", frames=0)
    made.append(
        Step(name="throughput of PyTorch", command=theirs, lacking=no_gpu + no_torch, limit_s=200, reserved_s=60)
    )
    no_nvcc = () if there["nvcc"] else tuple(cuda_library.missing()) or ("no nvcc",)
    built = (python, "-m", "kernels", "cuda")
    made.append(Step(name="kernels", command=built, lacking=no_gpu + no_nvcc, limit_s=240))
    # A test that is skipped has shown nothing.
    tests = ("env", "REQUIRE_GPU=1", python, "-m", "pytest", "-q", "-m", "gpu")
    no_card = no_gpu if options.device == "cuda" else ("they need a GPU",)
    kernels = (*tests, "tests/kernels", "tests/export/test_aotinductor_plugins.py")
    made.append(Step(name="kernels' tests", command=kernels, lacking=no_card + no_nvcc, limit_s=180))
    others = (*tests, "tests/sdk/test_cuda_arrays.py", "tests/training/test_fit.py")
    made.append(Step(name="other tests on the GPU", command=others, lacking=no_card, limit_s=60))
    return made


def runs_tensorrt(there: Mapping[str, str]) -> bool:
    """Whether engines can be built and run."""
    return any(there[name] for name in trt.PACKAGES) and there["gpu"].startswith("sm")


def in_onnxruntime(there: Mapping[str, str]) -> tuple[str, ...]:
    """Precisions that ONNX Runtime offers on the GPU."""
    return ("f32",) if there.get("onnxruntime on CUDA") else ()


def precisions(artifact: Artifact, asked: Sequence[str] | None) -> list[str]:
    """What is asked for, or the fastest that the model is allowed: in another nothing would be analysed."""
    allowed = artifact.contract.precisions
    wanted = list(asked or [next((one for one in ("fp16", "bf16") if one in allowed), "f32")])
    for one in wanted:
        if one not in allowed:
            raise PrecisionUnavailable(
                f"{artifact.name} was not shown to keep its accuracy in {one}",
                remedy=f"--precision, of: {', '.join(allowed)}",
            )
    return wanted


def race(
    path: str,
    options: argparse.Namespace,
    there: Mapping[str, str],
    wanted: Sequence[str],
    *,
    only: str,
    host: str,
    frames: int,
) -> tuple[str, ...]:
    """The command that times what can run here and has ``only`` in its name; clips have ``frames`` frames."""
    backends = ["aotinductor"]
    backends += ["tensorrt"] if runs_tensorrt(there) else []
    backends += ["onnxruntime"] if in_onnxruntime(there) else []
    height, width = options.size
    return (
        sys.executable, "-m", "benchmarks.throughput", "--artifact", path, "--host", host, "--only", only,
        "--device", options.device, "--backend", *backends, "--precision", *wanted,
        "--size", f"{width}x{height}", "--working-size", *map(str, options.working_size), "--batch", "1",
        "--frames", str(frames), "--rounds", "2", "--calls", str(options.calls), "--warmup", "3",
        "--limit", "120", "--results", str(options.results.resolve()),
    )  # fmt: skip


def carried_out(planned: Sequence[Step], *, budget_s: float) -> list[Came]:
    """Run every step that nothing is lacking for, one after the other, while there is time."""
    start, came = time.monotonic(), []
    for place, step in enumerate(planned):
        reserved = sum(later.reserved_s for later in planned[place + 1 :] if not later.lacking)
        left = budget_s - reserved - (time.monotonic() - start)
        if step.lacking or left <= 0:
            reason = "; ".join(step.lacking) or "no time was left"
            came.append(Came(name=step.name, seconds=0.0, outcome=f"left out: {reason}", told=()))
        else:
            came.append(_run(step, limit_s=min(left, step.limit_s)))
        print(f"{came[-1].name}: {came[-1].outcome} ({came[-1].seconds:.0f} s)", file=sys.stderr, flush=True)
    return came


def _run(step: Step, *, limit_s: float) -> Came:
    """The step in a session of its own: what it starts would otherwise outlive it, and hold the GPU."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(step.command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        try:
            outcome = "failed" if process.wait(limit_s) else "done"
        except subprocess.TimeoutExpired:
            outcome = "not in time"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        lines = [line.rstrip()[:300] for line in said if line.strip()]
    return Came(name=step.name, seconds=time.monotonic() - start, outcome=outcome, told=tuple(lines[-TOLD:]))


def sides(text: str) -> tuple[int, int]:
    """``1080x1920`` as height and width, px."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    root.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    root.add_argument("--host", required=True, help="kind of machine, for the files' names")
    root.add_argument("--device", choices=["cpu", "cuda"], default="cuda", help="cpu is for trying the suite itself")
    lowest = "default: the fastest that the model is allowed"
    root.add_argument("--precision", nargs="+", choices=["f32", "bf16", "fp16"], help=lowest)
    root.add_argument("--size", type=sides, default=(1080, 1920), metavar="HxW", help="of the frames, px")
    root.add_argument("--working-size", type=int, nargs="+", default=[0, 512], metavar="PX")
    root.add_argument("--frames", type=int, default=300, help="length of the clip; 0 leaves the stream out")
    root.add_argument("--calls", type=int, default=50)
    root.add_argument("--photographs", type=Path, default=ROOT / "sdk" / "samples", help="for the parity gate")
    root.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Look, measure, write; 1 if a step that could be run failed, 2 where there is no GPU to measure."""
    options = parser().parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    there = facts(options.device)
    for name, value in sorted(there.items()):
        print(f"{name}: {value or 'missing'}", file=sys.stderr)
    if not there["gpu"]:
        print("no NVIDIA GPU was found, so nothing was measured\n  -> run it where one is", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        copy = artifacts.read(shutil.copytree(artifact.path, Path(folder) / artifact.path.name))
        came = carried_out(steps(copy, options, there), budget_s=options.budget)
    result = heading("gpu", artifact) | {"device": options.device, "there": there}
    result["steps"] = [dataclasses.asdict(one) | {"told": list(one.told)} for one in came]
    print(write(result, options.results, host=options.host, hide=artifact.path))
    return int(any(one.outcome in {"failed", "not in time"} for one in came))


if __name__ == "__main__":
    sys.exit(main())
