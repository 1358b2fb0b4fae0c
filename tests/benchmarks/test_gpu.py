"""The suite for a GPU says what it leaves out and why, stops in time, goes on after a failure, and writes its file."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import gpu
from benchmarks.gpu import Step, carried_out
from sdk import artifact

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
    steps = planned(shipped, HERE, "--precision", "fp16", "bf16")
    assert [name for name, step in steps.items() if step.lacking] == ["tensorrt"]
    assert [name for name in steps if name.startswith("aoti")] == [
        "aotinductor fp16 at native", "aotinductor bf16 at native",
        "aotinductor fp16 at 512", "aotinductor bf16 at 512",
    ]  # fmt: skip
    command = steps["throughput"].command
    assert command[command.index("--backend") + 1 : command.index("--precision")] == ("aotinductor",)


def test_all_that_is_there_races(shipped):
    there = HERE | {"tensorrt": "yes", "onnxruntime on CUDA": "yes"}
    command = planned(shipped, there)["throughput"].command
    raced = command[command.index("--backend") + 1 : command.index("--precision")]
    assert raced == ("aotinductor", "tensorrt", "onnxruntime")


def test_every_command_of_the_suite_is_one_that_exists(shipped):
    """Its own parsers read what the suite passes, so that no lent minute goes to a misspelt option."""
    from benchmarks import throughput
    from export import commands

    for name, step in planned(shipped, HERE | {"tensorrt": "yes"}).items():
        if "export" in step.command:
            assert commands.parser().parse_args(list(step.command[3:])).artifact == str(shipped.path)
        elif name.startswith("throughput"):
            read = throughput.parser().parse_args(list(step.command[3:]))
            assert (read.device, read.only) == ("cuda", ["torch" if "PyTorch" in name else "imdl"])


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
