"""The suite for a GPU says what it leaves out and why, stops in time, goes on after a failure, and writes its file."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import Step, carried_out
from sdk import artifact
from sdk.errors import PrecisionUnavailable

NOTHING = dict.fromkeys(("torch", "triton", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "gpu", "nvcc"), "")
HERE = NOTHING | {"torch": "yes", "onnx": "yes", "gpu": "sm_90", "nvcc": "yes"}


@pytest.fixture
def shipped():
    return artifact.read(artifact.find())


def planned(shipped, there, *arguments):
    options = gpu.parser().parse_args(["--host", "test", *arguments])
    return {step.name: step for step in gpu.steps(shipped, options, there)}


def test_without_anything_every_step_is_left_out_with_its_reason(shipped):
    steps = planned(shipped, NOTHING)
    assert all(step.lacking for step in steps.values())
    assert steps["throughput"].lacking == (
        "no NVIDIA GPU was found", "torch is not installed", "onnx is not installed",
    )  # fmt: skip
    came = carried_out(list(steps.values()), budget_s=10)
    assert all(one.outcome.startswith("left out: no NVIDIA GPU was found") for one in came)


def test_where_there_is_torch_and_no_tensorrt_packages_of_torch_are_measured(shipped):
    steps = planned(shipped, HERE, "--precision", "bf16", "f32")
    assert [name for name, step in steps.items() if step.lacking] == ["tensorrt"]
    assert [name for name in steps if name.startswith("aoti")] == [
        "aotinductor bf16 at native", "aotinductor f32 at native",
        "aotinductor bf16 at 512", "aotinductor f32 at 512",
    ]  # fmt: skip
    command = steps["throughput"].command
    assert command[command.index("--backend") + 1 : command.index("--precision")] == ("aotinductor",)


def test_all_that_is_there_races(shipped):
    there = HERE | {"tensorrt": "yes", "onnxruntime on CUDA": "yes"}
    command = planned(shipped, there)["throughput"].command
    raced = command[command.index("--backend") + 1 : command.index("--precision")]
    assert raced == ("aotinductor", "tensorrt", "onnxruntime")
    assert command[command.index("--precision") + 1 : command.index("--size")] == ("fp16", "f32")
    for lacking, expected in (({"tensorrt": ""}, ("fp16", "f32")), ({"onnxruntime on CUDA": ""}, ("fp16",))):
        command = planned(shipped, there | lacking)["throughput"].command
        assert command[command.index("--precision") + 1 : command.index("--size")] == expected
    command = planned(shipped, HERE)["throughput"].command
    assert command[command.index("--precision") + 1 : command.index("--size")] == ("fp16",)


@pytest.mark.parametrize("name", artifact.models())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_of_the_suite_is_one_that_exists_and_asks_for_what_the_model_is_allowed(name, device):
    """Its own parsers read what the suite passes, so that no lent minute goes to a misspelt option."""
    from benchmarks import throughput
    from export import commands

    shipped = artifact.read(artifact.find(name))
    for allowed in (None, *shipped.contract.precisions):
        asked = ("--device", device, *(("--precision", allowed) if allowed else ()))
        for step_name, step in planned(shipped, HERE | {"tensorrt": "yes"}, *asked).items():
            if "export" in step.command:
                read = commands.parser().parse_args(list(step.command[3:]))
                assert read.artifact == str(shipped.path)
            elif step_name.startswith("throughput"):
                read = throughput.parser().parse_args(list(step.command[3:]))
                assert (read.device, read.only) == (device, ["torch" if "PyTorch" in step_name else "imdl"])
            else:
                assert step_name in {"kernels", "kernels' tests", "other tests on the GPU"}
                continue
            assert set(read.precision) <= set(shipped.contract.precisions)


def test_every_test_that_needs_a_gpu_is_run(shipped, repository):
    suite = planned(shipped, HERE)
    commands = (suite["kernels' tests"].command, suite["other tests on the GPU"].command)
    chosen = [repository / part for command in commands for part in command if part.startswith("tests/")]
    marked = re.compile(r"^(@|\w+ = )pytest\.mark\.gpu\b", re.MULTILINE)
    files = [file for file in (repository / "tests").rglob("test_*.py") if marked.search(file.read_text("utf-8"))]
    needing = [file for file in files if file.name != "test_conftest.py"]  # which has one in a string
    assert len(needing) >= 3
    assert [file for file in needing if not any(file.is_relative_to(place) for place in chosen)] == []


def test_the_default_is_the_fastest_that_a_model_is_allowed_and_another_is_refused_at_once(shipped):
    """Analyses in a precision that the model was not shown to bear are refused: a whole race would be empty."""
    assert gpu.precisions(shipped, None) == ["fp16"]
    coarser = dataclasses.replace(shipped.contract, precisions=("f32", "bf16"))
    coarser = dataclasses.replace(shipped, contract=coarser)
    assert gpu.precisions(coarser, None) == ["bf16"]
    with pytest.raises(PrecisionUnavailable, match=r"was not shown to keep its accuracy in fp16[\s\S]*f32, bf16"):
        gpu.precisions(coarser, ["bf16", "fp16"])


def test_a_failure_and_a_delay_stop_nothing_else_and_the_budget_holds():
    def step(name, code, limit_s=20.0):
        return Step(name=name, command=(sys.executable, "-S", "-c", code), limit_s=limit_s)

    came = carried_out(
        [
            step("breaks", "import sys; print('why'); sys.exit(3)"),
            step("hangs", "import time; print('so far', flush=True); time.sleep(60)", limit_s=3.0),
            step("works", "print('figures')"),
        ],
        budget_s=60,
    )
    assert [(one.name, one.outcome, one.told) for one in came] == [
        ("breaks", "failed", ("why",)),
        ("hangs", "not in time", ("so far",)),
        ("works", "done", ("figures",)),
    ]
    (late,) = carried_out([step("late", "print(1)")], budget_s=0)
    assert late.outcome == "left out: no time was left"


def test_what_is_too_late_is_ended_with_all_that_it_started(tmp_path):
    """A contender of a race would otherwise go on for minutes, and hold the GPU that the next step measures."""
    started = tmp_path / "pid"
    child = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    start = time.monotonic()
    (came,) = carried_out([Step(name="races", command=(sys.executable, "-S", "-c", parent), limit_s=3)], budget_s=60)
    assert came.outcome == "not in time"
    assert time.monotonic() - start < 60
    status = Path(f"/proc/{started.read_text()}/status")
    end = time.monotonic() + 10
    while status.exists() and "Z (zombie)" not in status.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    assert not status.exists() or "Z (zombie)" in status.read_text()


def test_what_comes_before_a_race_leaves_it_its_time(monkeypatch):
    """With an invented clock: every step takes all that it may."""
    now = [0.0]
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])

    def taken(step, *, limit_s):
        now[0] += limit_s
        return gpu.Came(name=step.name, seconds=limit_s, outcome="not in time", told=())

    monkeypatch.setattr(gpu, "_run", taken)

    def step(name, limit_s, reserved_s=0.0, lacking=()):
        return Step(name=name, command=(), lacking=lacking, limit_s=limit_s, reserved_s=reserved_s)

    compiled = [step(f"compile {number}", 150) for number in range(3)]
    races = [step("race", 200, 170), step("torch", 200, 60), step("absent", 200, 100, ("it is absent",))]
    came = carried_out([*compiled, *races, step("tests", 120)], budget_s=470)
    assert [one.seconds for one in came] == [150, 90, 0, 170, 60, 0, 0]
    assert now[0] == 470


def test_the_suite_fits_into_eight_minutes(shipped):
    assert gpu.parser().parse_args(["--host", "x"]).budget <= 480
    steps = planned(shipped, HERE | {"tensorrt": "yes"})
    assert steps["throughput"].reserved_s + steps["throughput of PyTorch"].reserved_s < gpu.BUDGET_S / 2


def test_without_a_gpu_nothing_is_measured_and_nothing_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "facts", lambda device: HERE | {"gpu": ""})
    monkeypatch.setattr(gpu, "carried_out", None)
    assert gpu.main(["--host", "none", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert (said.out, list(tmp_path.iterdir())) == ("", [])
    assert "no NVIDIA GPU was found, so nothing was measured" in said.err


def test_it_works_on_a_copy_of_the_artifact(tmp_path, monkeypatch, shipped):
    """The step for TensorRT writes graphs into it; of one that ships it would put them where no race looks."""
    seen = []
    monkeypatch.setattr(gpu, "steps", lambda artifact, *_: seen.append(artifact) or [])
    monkeypatch.setattr(gpu, "facts", lambda device: HERE)
    assert gpu.main(["--host", "copy", "--results", str(tmp_path)]) == 0
    (copied,) = seen
    assert copied.digest == shipped.digest
    assert copied.path.name == shipped.path.name
    assert copied.path.parent != shipped.path.parent
    assert not copied.path.exists()


def test_a_dry_run_on_the_cpu_writes_what_came_of_it(tmp_path, monkeypatch, capsys):
    """With the race in place of all else, which takes minutes, on the smallest frames there are."""
    monkeypatch.setattr(gpu, "facts", lambda device: HERE | {"gpu": "none asked for", "torch": ""})
    raced = (sys.executable, "-S", "-c", f"open({str(tmp_path / 'raced')!r}, 'w').close()")
    monkeypatch.setattr(gpu, "steps", lambda *_: [Step(name="throughput", command=raced, limit_s=30)])
    arguments = ["--host", "dry", "--device", "cpu", "--results", str(tmp_path), "--budget", "30"]
    assert gpu.main(arguments) == 0
    assert (tmp_path / "raced").exists()
    (target,) = tmp_path.glob("gpu-*-dry.json")
    result = json.loads(target.read_text())
    assert result["kind"] == "gpu"
    assert [(one["name"], one["outcome"]) for one in result["steps"]] == [("throughput", "done")]
    assert result["there"]["torch"] == ""
    said = capsys.readouterr()
    assert "torch: missing" in said.err
    assert said.out.strip() == str(target)
