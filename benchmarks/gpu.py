"""Everything that has to be measured on a GPU, in one go and under eight minutes.

    python -m benchmarks.gpu --host h200

First looks at what is there, and says what is left out for want of what; without a GPU that is all it does, unless
``--device cpu`` asks for a trial. Then, for each model that frames per second are asked of, engines are made and pass
the gate, and ``benchmarks.throughput`` races them with eager PyTorch, counts the share of the roofline that is reached,
and plays a clip. Then all tests run that need a GPU, PyTorch is compiled and raced, and :mod:`benchmarks.kernels_gpu`
looks at the kernels by themselves. A model whose artifact is neither in ``artifacts/`` nor shipped is exported with
untrained weights, on which time does not depend; all works on copies, which get graphs for engines. Writes
``gpu-<host>.json``, with what came of every step and every floor, beside the results of the races and of the kernels.
Nothing is downloaded. A step that fails does not stop the others; one that takes too long is ended with all that it
started, and cannot use up the time of the races. Engines are kept: a second run gets to what the first had no time for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks import gpu_floors
from benchmarks.entry import RESULTS, write
from benchmarks.fps import OF_TORCH
from benchmarks.provenance import provenance
from benchmarks.speed import Floor
from benchmarks.suite import LEFT, Step, as_json, carried_out, failed
from benchmarks.turn import ROOT
from kernels import cuda_library
from sdk import artifact as artifacts
from sdk import contract
from sdk.artifact import Artifact
from sdk.backends import onnxruntime
from sdk.engines import gpu, trt
from sdk.errors import ArtifactInvalid, BadSetting, PrecisionUnavailable, SdkError

BUDGET_S = 470.0
"""Seconds for all steps together: what a lent machine gives a command, less what writing takes."""
IN_TENSORRT = ("f32", "fp16")
EXPORTED = Path("artifacts")
"""Where ``python -m export onnx`` writes when it is not told where: ``HOME`` of its commands, which import torch."""
TESTS = ("tests/sdk/test_cuda_arrays.py", "tests/export/test_on_a_gpu.py", "tests/training/test_fit.py")
"""With tests that need a GPU, beside those of the kernels."""
WITH_KERNELS = "tests/export/test_aotinductor_plugins.py"
"""Build the kernels for themselves."""


class Subject(NamedTuple):
    """A model to measure, on a copy of its artifact."""

    artifact: Artifact
    is_untrained: bool
    """Whether it was exported for this run alone."""

    def described(self) -> dict[str, object]:
        """For the result."""
        terms = self.artifact.contract
        weights = "untrained: exported for this run" if self.is_untrained else "those of the artifact"
        return {
            "model": terms.name, "version": terms.version, "status": terms.status, "artifact": self.artifact.digest,
            "weights": weights,
        }  # fmt: skip


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


def kept(name: str) -> Path | None:
    """Folder of an artifact: of a name the one that ships, else the one in ``artifacts/``; None: to be exported."""
    if name in artifacts.names():
        return artifacts.find(name)
    is_path = Path(name).name != name
    place = Path(name) if is_path else EXPORTED / name
    if (place / contract.FILE).is_file():
        return place
    if is_path:
        raise ArtifactInvalid(
            f"{name} holds no {contract.FILE}",
            remedy="give a folder that python -m export onnx wrote, or a model's name",
        )
    return None


def looked_up(named: Sequence[str]) -> dict[str, Artifact | None]:
    """The artifacts that were ``named``, all of them whole, by their models; None: to be exported."""
    found: dict[str, Artifact | None] = {}
    for name in named:
        place = kept(name)
        artifact = artifacts.read(place) if place else None
        model = artifact.contract.name if artifact else name
        if model in found:
            raise BadSetting(
                f"{model} is given twice, and results are named after the model",
                remedy="measure one after the other, with --results FOLDER of its own",
            )
        found[model] = artifact
    return found


def exporting(models: Sequence[str], folder: Path, options: argparse.Namespace, there: Mapping[str, str]) -> list[Step]:
    """Artifacts of untrained ``models``, in ``folder``. Time does not depend on what bf16 does to their answers."""
    command = (sys.executable, "-m", "export", "onnx")
    settings = ("--unjudged", "bf16", "--photographs", str(options.photographs.resolve()))
    return [
        Step(
            name=f"{model} with untrained weights",
            command=(*command, model, "--out", str(folder / model), *settings),
            lacking=_lacking(there),
            limit_s=120,
        )
        for model in models
    ]


def steps(copies: Sequence[Artifact], options: argparse.Namespace, there: Mapping[str, str]) -> list[Step]:
    """The suite: what floors are asked of comes first, model by model, and compiling PyTorch takes minutes."""
    no_card = _no_gpu(there) if options.device == "cuda" else ("they need a GPU",)
    python = sys.executable
    made = []
    for artifact in copies:
        made += [*engines(artifact, options, there), first(artifact, options, there)]
    no_nvcc = () if there["nvcc"] else tuple(cuda_library.missing()) or ("no nvcc",)
    # A test that is skipped has shown nothing.
    tests = ("env", "REQUIRE_GPU=1", python, "-m", "pytest", "-q", "-m", markers(there))
    made.append(Step(name="tests on the GPU", command=(*tests, *TESTS), lacking=no_card, limit_s=150))
    lacking = no_card + no_nvcc
    made.append(Step(name="tests with our kernels", command=(*tests, WITH_KERNELS), lacking=lacking, limit_s=150))
    made += [compiled(artifact, options, there) for artifact in copies]
    results = str(options.results.resolve())
    kernels = (python, "-m", "benchmarks.kernels_gpu", "--host", options.host, "--results", results, "--budget", LEFT)
    made.append(Step(name="kernels", command=kernels, lacking=no_card, limit_s=options.budget))
    return made


def engines(artifact: Artifact, options: argparse.Namespace, there: Mapping[str, str]) -> list[Step]:
    """Engines of one model. TensorRT's first: it adds graphs to the artifact, of whose digest packages are made."""
    python, path, name = sys.executable, str(artifact.path), artifact.contract.name
    lacking = _lacking(there)
    no_trt = () if any(there[package] for package in trt.PACKAGES) else ("TensorRT is not installed",)
    size = f"{options.size[0]}x{options.size[1]}"
    common = ("--frame", size, "--photographs", str(options.photographs.resolve()))
    wanted = precisions(artifact, options.precision)
    build = (python, "-m", "export", "tensorrt", path, *common, "--precision", *typed(wanted))
    made = [Step(name=f"{name} in tensorrt", command=build, lacking=lacking + no_trt, limit_s=150)]
    command = (python, "-m", "export", "aotinductor", path, "--device", options.device, *common)
    return made + [
        Step(
            name=f"{name} in aotinductor, {precision} at {working_size or 'native'}",
            command=(*command, "--precision", precision, "--working-size", str(working_size)),
            lacking=lacking,
            limit_s=150,
        )
        for working_size in working_sizes(name, options)
        for precision in wanted
    ]


def first(artifact: Artifact, options: argparse.Namespace, there: Mapping[str, str]) -> Step:
    """The race that floors are read off: ours, and eager PyTorch in the same rounds."""
    command = race(artifact, options, there, only=("imdl", "eager"), host=options.host, frames=options.frames)
    model = artifact.contract.name
    name, reserved = f"throughput of {model}", race_s(model, options)
    return Step(name=name, command=command, lacking=_lacking(there), limit_s=200, reserved_s=reserved)


def race_s(model: str, options: argparse.Namespace) -> float:
    """Seconds that the race of a model is left by all that comes before it."""
    return 30.0 + 45.0 * len(working_sizes(model, options))


def compiled(artifact: Artifact, options: argparse.Namespace, there: Mapping[str, str]) -> Step:
    """The race of what PyTorch compiles, in a result of its own."""
    command = race(artifact, options, there, only=("compiled",), host=f"{options.host}{OF_TORCH}", frames=0)
    name = f"{artifact.contract.name} by torch.compile"
    return Step(name=name, command=command, lacking=_lacking(there), limit_s=200)


def _no_gpu(there: Mapping[str, str]) -> tuple[str, ...]:
    return () if there["gpu"] else ("no NVIDIA GPU was found",)


def _no_torch(there: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} is not installed" for name in ("torch", "onnx") if not there[name])


def _lacking(there: Mapping[str, str]) -> tuple[str, ...]:
    """Why no model can be exported, compiled or raced, one sentence each."""
    return (*_no_gpu(there), *_no_torch(there))


def runs_tensorrt(there: Mapping[str, str]) -> bool:
    """Whether engines can be built and run."""
    return any(there[name] for name in trt.PACKAGES) and there["gpu"].startswith("sm")


def in_onnxruntime(there: Mapping[str, str]) -> tuple[str, ...]:
    """Precisions that ONNX Runtime offers on the GPU."""
    return ("f32",) if there.get("onnxruntime on CUDA") else ()


def markers(there: Mapping[str, str]) -> str:
    """Tests that can be run here, for ``pytest -m``."""
    more = {"tensorrt": there["tensorrt"], "onnxruntime_gpu": there.get("onnxruntime on CUDA")}
    return " or ".join(["gpu", *(name for name, is_there in more.items() if is_there)])


def working_sizes(model: str, options: argparse.Namespace) -> list[int]:
    """What is asked for, or those that floors are asked at; of other models the frame's own and 512 px."""
    return options.working_size or gpu_floors.working_sizes(model) or [0, 512]


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


def typed(wanted: Sequence[str]) -> list[str]:
    """Of ``wanted`` precisions those of TensorRT, or f32."""
    return [one for one in wanted if one in IN_TENSORRT] or ["f32"]


def race(
    artifact: Artifact,
    options: argparse.Namespace,
    there: Mapping[str, str],
    *,
    only: Sequence[str],
    host: str,
    frames: int,
) -> tuple[str, ...]:
    """The command that times what can run here and has a word of ``only`` in its name; clips have ``frames`` frames."""
    wanted = precisions(artifact, options.precision)
    raced = [*dict.fromkeys([*wanted, *(typed(wanted) if runs_tensorrt(there) else ()), *in_onnxruntime(there)])]
    backends = ["aotinductor"]
    backends += ["tensorrt"] if runs_tensorrt(there) else []
    backends += ["onnxruntime"] if in_onnxruntime(there) else []
    height, width = options.size
    sizes = map(str, working_sizes(artifact.contract.name, options))
    return (
        sys.executable, "-m", "benchmarks.throughput", "--artifact", str(artifact.path), "--host", host,
        "--only", *only, "--device", options.device, "--backend", *backends, "--precision", *raced,
        "--size", f"{width}x{height}", "--working-size", *sizes, "--batch", "1",
        "--frames", str(frames), "--rounds", str(options.rounds), "--calls", str(options.calls), "--warmup", "3",
        "--limit", "120", "--results", str(options.results.resolve()),
    )  # fmt: skip


def verdicts(models: Sequence[str], options: argparse.Namespace, *, since: float) -> list[tuple[str, Floor]]:
    """What is asked of each model and what its race found, by model; no race from before ``since`` (Unix time, s)."""
    judged = []
    for model in models:
        file = options.results / f"throughput-{model}-{options.host}.json"
        raced = file.exists() and file.stat().st_mtime >= since
        nothing = {"device": options.device, "model": model, "rows": [], "streams": []}
        result = json.loads(file.read_text(encoding="utf-8")) if raced else nothing
        judged += [(model, floor) for floor in gpu_floors.of(result)]
    return judged


def sides(text: str) -> tuple[int, int]:
    """``1080x1920`` as height and width, px."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    named = "names of models or artifacts, or directories; default: all that floors are asked of"
    root.add_argument("--artifact", nargs="+", default=list(gpu_floors.ASKED), help=named)
    root.add_argument("--host", required=True, help="kind of machine, for the files' names")
    root.add_argument("--device", choices=["cpu", "cuda"], default="cuda", help="cpu is for trying the suite itself")
    lowest = "default: the fastest that the model is allowed"
    root.add_argument("--precision", nargs="+", choices=["f32", "bf16", "fp16"], help=lowest)
    root.add_argument("--size", type=sides, default=(1080, 1920), metavar="HxW", help="of the frames, px")
    sizes = "default: those that floors are asked at, else 0 and 512"
    root.add_argument("--working-size", type=int, nargs="+", metavar="PX", help=sizes)
    root.add_argument("--frames", type=int, default=300, help="length of the clip; 0 leaves the stream out")
    root.add_argument("--calls", type=int, default=100)
    root.add_argument("--rounds", type=int, default=1)
    root.add_argument("--photographs", type=Path, default=ROOT / "sdk" / "samples", help="for the parity gate")
    root.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Look, measure, write; 1 if a step that could be run failed, 2 where there is no GPU to measure."""
    root = parser()
    options = root.parse_args(arguments)
    since, start = time.time(), time.monotonic()
    try:
        given = looked_up(options.artifact)
    except SdkError as error:
        root.error(str(error))
    there = facts(options.device)
    for name, value in sorted(there.items()):
        print(f"{name}: {value or 'missing'}", file=sys.stderr)
    if not there["gpu"]:
        print("no NVIDIA GPU was found, so nothing was measured\n  -> run it where one is", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        untrained = [model for model, artifact in given.items() if artifact is None]
        races_s = sum(race_s(model, options) for model in given)
        came = carried_out(exporting(untrained, folder, options, there), budget_s=options.budget - races_s)
        for model, artifact in given.items():
            if artifact:
                shutil.copytree(artifact.path, folder / model)
        subjects = [
            Subject(artifacts.read(folder / model), model in untrained) for model in given if (folder / model).is_dir()
        ]
        left = options.budget - (time.monotonic() - start)
        came += carried_out(steps([one.artifact for one in subjects], options, there), budget_s=left)
        models = [subject.described() for subject in subjects]
    names = dict.fromkeys([*(str(one["model"]) for one in models), *untrained])
    judged = verdicts(list(names), options, since=since)
    for model, floor in judged:
        found = "" if floor.found is None else f", {floor.found:.3g}"
        print(f"{model}, {floor.what}, {floor.needed:g} asked: {floor.verdict}{found}", file=sys.stderr)
    result = {"schema": 1, "kind": "gpu", "provenance": provenance(), "device": options.device, "there": there}
    result |= {"models": models, "steps": as_json(came)}
    result["floors"] = [{"model": model, "verdict": floor.verdict, **floor._asdict()} for model, floor in judged]
    print(write(result, options.results, host=options.host, hide=ROOT))
    return int(failed(came))


if __name__ == "__main__":
    sys.exit(main())
