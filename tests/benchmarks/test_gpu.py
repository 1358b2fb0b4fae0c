"""The suite for a GPU says what it leaves out and why, stops in time, goes on after a failure, and writes its file."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu, kernels_gpu, suite, throughput
from benchmarks.suite import Step, carried_out
from export import commands
from sdk import artifact
from sdk.errors import PrecisionUnavailable

KERNELS = ("gpu", "torch", "nvcc", "compute-sanitizer", "ncu")
NOTHING = dict.fromkeys(("torch", "triton", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "gpu", "nvcc"), "")
HERE = NOTHING | {"torch": "yes", "onnx": "yes", "gpu": "sm_90", "nvcc": "yes"}


@pytest.fixture
def shipped():
    return artifact.read(artifact.find())


def read(*arguments):
    return gpu.parser().parse_args(["--host", "test", *arguments])


def planned(shipped, there, *arguments):
    return {step.name: step for step in gpu.steps([shipped], read(*arguments), there)}


def named(shipped, name):
    """As if it were the artifact of the model ``name``."""
    return dataclasses.replace(shipped, contract=dataclasses.replace(shipped.contract, name=name))


def between(command, option, other):
    return command[command.index(option) + 1 : command.index(other)]


def test_without_anything_every_step_is_left_out_with_its_reason(shipped, tmp_path):
    steps = planned(shipped, NOTHING)
    assert all(step.lacking for step in steps.values())
    lacking = ("no NVIDIA GPU was found", "torch is not installed", "onnx is not installed")
    assert steps["throughput of psccnet-lite"].lacking == lacking
    (exporting,) = gpu.exporting(["psccnet"], tmp_path, read(), NOTHING)
    assert exporting.lacking == lacking
    came = carried_out([exporting, *steps.values()], budget_s=10)
    assert all(one.outcome.startswith("left out: no NVIDIA GPU was found") for one in came)


def test_where_there_is_torch_and_no_tensorrt_packages_of_torch_are_measured(shipped):
    steps = planned(shipped, HERE, "--precision", "bf16", "f32")
    assert [name for name, step in steps.items() if step.lacking] == ["psccnet-lite in tensorrt"]
    assert [name for name in steps if "aotinductor" in name] == [
        "psccnet-lite in aotinductor, bf16 at native", "psccnet-lite in aotinductor, f32 at native",
        "psccnet-lite in aotinductor, bf16 at 512", "psccnet-lite in aotinductor, f32 at 512",
    ]  # fmt: skip
    assert between(steps["throughput of psccnet-lite"].command, "--backend", "--precision") == ("aotinductor",)


def test_all_that_is_there_races(shipped):
    there = HERE | {"tensorrt": "yes", "onnxruntime on CUDA": "yes"}
    command = planned(shipped, there)["throughput of psccnet-lite"].command
    assert between(command, "--backend", "--precision") == ("aotinductor", "tensorrt", "onnxruntime")
    assert between(command, "--precision", "--size") == ("fp16", "f32")
    for lacking, expected in (({"tensorrt": ""}, ("fp16", "f32")), ({"onnxruntime on CUDA": ""}, ("fp16",))):
        command = planned(shipped, there | lacking)["throughput of psccnet-lite"].command
        assert between(command, "--precision", "--size") == expected
    command = planned(shipped, HERE)["throughput of psccnet-lite"].command
    assert between(command, "--precision", "--size") == ("fp16",)


def test_one_run_measures_all_that_floors_are_asked_of(shipped):
    options = read()
    assert options.artifact == ["psccnet", "mantranet"]
    assert options.size == (1080, 1920)
    copies = [named(shipped, name) for name in options.artifact]
    steps = gpu.steps(copies, options, HERE | {"tensorrt": "yes"})
    assert [step.name for step in steps] == [
        "psccnet in tensorrt", "psccnet in aotinductor, fp16 at native", "psccnet in aotinductor, fp16 at 512",
        "throughput of psccnet",
        "mantranet in tensorrt", "mantranet in aotinductor, fp16 at native",
        "throughput of mantranet",
        "tests on the GPU", "tests with our kernels",
        "psccnet by torch.compile", "mantranet by torch.compile", "kernels",
    ]  # fmt: skip
    races = [step.command for step in steps if step.name.startswith("throughput")]
    assert [between(command, "--working-size", "--batch") for command in races] == [("0", "512"), ("0",)]
    assert all(between(command, "--only", "--device") == ("imdl", "eager") for command in races)
    assert all(int(command[command.index("--frames") + 1]) for command in races)


@pytest.mark.parametrize("name", artifact.models())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_of_the_suite_is_one_that_exists_and_asks_for_what_the_model_is_allowed(name, device, repository):
    """Its own parsers read what the suite passes, so that no lent minute goes to a misspelt option."""
    parsers = {"export": commands, "benchmarks.throughput": throughput, "benchmarks.kernels_gpu": kernels_gpu}
    shipped, parsed = artifact.read(artifact.find(name)), []
    for allowed in (None, *shipped.contract.precisions):
        asked = ("--device", device, *(("--precision", allowed) if allowed else ()))
        for step_name, step in planned(shipped, HERE | {"tensorrt": "yes"}, *asked).items():
            if "pytest" in step.command:
                assert all((repository / part).is_file() for part in step.command if part.startswith("tests/"))
                continue
            words = [part.replace(suite.LEFT, "60") for part in step.command]
            assert words[:2] == [sys.executable, "-m"]
            found = parsers[words[2]].parser().parse_args(words[3:])
            parsed.append(words[2])
            if words[2] == "benchmarks.kernels_gpu":
                assert found.budget == 60
                continue
            assert found.artifact == str(shipped.path)
            assert set(found.precision) <= set(shipped.contract.precisions)
            if words[2] == "benchmarks.throughput":
                assert (found.device, found.host) == (device, "test-torch" if "compile" in step_name else "test")
    assert set(parsed) == set(parsers)


def test_an_artifact_that_is_not_there_is_exported_with_untrained_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gpu.kept("psccnet") is None
    assert gpu.kept("psccnet-lite") == artifact.find("psccnet-lite")
    (tmp_path / "artifacts" / "psccnet").mkdir(parents=True)
    assert gpu.kept("psccnet") is None
    (tmp_path / "artifacts" / "psccnet" / "contract.json").touch()
    assert gpu.kept("psccnet") == Path("artifacts/psccnet")
    assert gpu.kept(str(tmp_path / "artifacts" / "psccnet")) == tmp_path / "artifacts" / "psccnet"
    (step,) = gpu.exporting(["mantranet"], tmp_path, read(), HERE)
    found = commands.parser().parse_args(list(step.command[3:]))
    assert (found.run, found.model, found.out) == (commands.to_onnx, "mantranet", tmp_path / "mantranet")
    assert (found.checkpoint, found.unjudged) == (None, ["bf16"])


def test_a_name_that_ships_means_what_ships_whatever_was_exported_under_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "artifacts" / "psccnet-lite"
    own.mkdir(parents=True)
    (own / "contract.json").touch()
    assert gpu.kept("psccnet-lite") == artifact.find("psccnet-lite")
    assert gpu.kept("artifacts/psccnet-lite") == Path("artifacts/psccnet-lite")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (["psccnet", "runs/psccnet"], r"runs/psccnet holds no contract\.json\n  -> give a folder that"),
        (["hollow"], r"artifacts/hollow is damaged:\n  .*is missing"),
        (["psccnet-lite", str(artifact.find("psccnet-lite"))], r"psccnet-lite is given twice[^>]*\n  -> measure one"),
        (["mag", "mag"], "mag is given twice"),
    ],
    ids=["no artifact", "damaged", "twice", "exported twice"],
)  # fmt: skip
def test_an_artifact_that_cannot_be_measured_is_told_before_the_first_step(tmp_path, monkeypatch, capsys, named, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts" / "hollow").mkdir(parents=True)
    (tmp_path / "artifacts" / "hollow" / "contract.json").write_bytes(
        (artifact.find("psccnet-lite") / "contract.json").read_bytes()
    )
    monkeypatch.setattr(gpu, "facts", None)
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--host", "none", "--artifact", *named])
    assert re.search(told, capsys.readouterr().err)


def test_every_test_that_needs_a_gpu_is_run(shipped, repository, tmp_path):
    steps = [*planned(shipped, HERE).values()]
    steps += kernels_gpu.steps(
        kernels_gpu.parser().parse_args(["--host", "x"]), dict.fromkeys(KERNELS, "yes"), tmp_path
    )
    chosen = [repository / part for step in steps for part in step.command if part.startswith("tests/")]
    marked = re.compile(r"\bpytest\.mark\.(gpu|tensorrt|onnxruntime_gpu)\b")
    files = [file for file in (repository / "tests").rglob("test_*.py") if marked.search(file.read_text("utf-8"))]
    needing = [file for file in files if file.name not in {"test_conftest.py", Path(__file__).name}]  # in a string
    assert len(needing) >= 3
    assert [file for file in needing if not any(file.is_relative_to(place) for place in chosen)] == []


def test_tests_of_what_is_not_installed_are_not_asked_for(shipped):
    assert gpu.markers(HERE) == "gpu"
    assert gpu.markers(HERE | {"tensorrt": "yes", "onnxruntime on CUDA": "yes"}) == "gpu or tensorrt or onnxruntime_gpu"


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
    monkeypatch.setattr(suite.time, "monotonic", lambda: now[0])

    def taken(step, *, limit_s):
        now[0] += limit_s
        return suite.Came(name=step.name, seconds=limit_s, outcome="not in time", told=())

    monkeypatch.setattr(suite, "_run", taken)

    def step(name, limit_s, reserved_s=0.0, lacking=()):
        return Step(name=name, command=(), lacking=lacking, limit_s=limit_s, reserved_s=reserved_s)

    compiled = [step(f"compile {number}", 150) for number in range(3)]
    races = [step("race", 200, 170), step("torch", 200, 60), step("absent", 200, 100, ("it is absent",))]
    came = carried_out([*compiled, *races, step("tests", 120)], budget_s=470)
    assert [one.seconds for one in came] == [150, 90, 0, 170, 60, 0, 0]
    assert now[0] == 470


def test_exports_leave_every_race_its_time(tmp_path, monkeypatch):
    budgets = []
    monkeypatch.setattr(gpu, "facts", lambda device: HERE)
    monkeypatch.setattr(gpu, "carried_out", lambda steps, *, budget_s: budgets.append((len(steps), budget_s)) or [])
    monkeypatch.chdir(tmp_path)
    arguments = ["--host", "short", "--results", str(tmp_path), "--budget", "300", "--artifact"]
    assert gpu.main([*arguments, "psccnet", "mantranet", "psccnet-lite"]) == 0
    assert budgets[0] == (2, 300 - (30 + 2 * 45) - (30 + 45) - (30 + 2 * 45))


def test_a_command_is_told_how_long_it_may_take():
    told = Step(name="told", command=(sys.executable, "-S", "-c", f"print('{suite.LEFT}')"), limit_s=70)
    assert [one.told for one in carried_out([told], budget_s=100)] == [("60",)]


def test_the_suite_fits_into_eight_minutes(shipped):
    options = read()
    assert options.budget <= 480
    copies = [named(shipped, name) for name in options.artifact]
    steps = gpu.steps(copies, options, HERE | {"tensorrt": "yes"})
    assert sum(step.reserved_s for step in steps) < gpu.BUDGET_S / 2


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
    monkeypatch.setattr(gpu, "steps", lambda copies, *_: seen.extend(copies) or [])
    monkeypatch.setattr(gpu, "facts", lambda device: HERE)
    assert gpu.main(["--host", "copy", "--results", str(tmp_path), "--artifact", "psccnet-lite"]) == 0
    (copied,) = seen
    assert copied.digest == shipped.digest
    assert copied.path.name == shipped.path.name
    assert copied.path.parent != shipped.path.parent
    assert not copied.path.exists()


@pytest.fixture
def written(tmp_path, monkeypatch, shipped, capsys):
    """What a suite writes whose export is a copy and whose race is a file; the machine has a GPU in name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "facts", lambda device: HERE)

    def exporting(models, folder, *_):
        code = f"import shutil; shutil.copytree({str(shipped.path)!r}, {str(folder / 'psccnet')!r})"
        yield Step(name="export", command=(sys.executable, "-S", "-c", code), limit_s=30)

    def race(copies, options, _there):
        row = {
            "run_by": "imdl aotinductor", "precision": "fp16", "height": 1080, "width": 1920, "batch": 1,
            "working_size": 0, "engine": {"fps": 99.0}, "frame": {"fps": 81.0}, "bound_fps": 207.0,
        }  # fmt: skip
        eager = row | {"run_by": "eager torch", "frame": {"fps": 30.0}}
        raced = {"model": "psccnet", "device": "cuda", "host": "dry", "rows": [row, eager], "streams": []}
        file = options.results / "throughput-psccnet-dry.json"
        code = f"import json; json.dump({raced!r}, open({str(file)!r}, 'w'))"
        return [Step(name="throughput", command=(sys.executable, "-S", "-c", code), limit_s=30)]

    monkeypatch.setattr(gpu, "exporting", lambda *arguments: [*exporting(*arguments)])
    monkeypatch.setattr(gpu, "steps", race)
    monkeypatch.setattr(artifact, "read", lambda path, read=artifact.read: named(read(path), path.name))
    arguments = ["--host", "dry", "--results", str(tmp_path), "--budget", "180", "--artifact", "psccnet"]
    assert gpu.main(arguments) == 0
    target = tmp_path / "gpu-dry.json"
    said = capsys.readouterr()
    assert said.out.strip() == str(target)
    return json.loads(target.read_text(encoding="utf-8")), said.err


def test_what_came_of_every_step_is_written_and_that_weights_are_untrained(written):
    result, said = written
    assert result["kind"] == "gpu"
    assert [(one["name"], one["outcome"]) for one in result["steps"]] == [("export", "done"), ("throughput", "done")]
    assert [(one["model"], one["weights"]) for one in result["models"]] == [
        ("psccnet", "untrained: exported for this run")
    ]
    assert result["there"]["tensorrt"] == ""
    assert "tensorrt: missing" in said


def test_every_floor_has_its_verdict_at_the_end(written):
    result, said = written
    assert [(one["needed"], one["found"], one["verdict"]) for one in result["floors"]] == [
        (100, 99, "missed"), (80, 81, "reached"), (50, None, "not measured"), (400, None, "not measured"),
        (2.5, 2.7, "reached"),
    ]  # fmt: skip
    assert said.splitlines()[-5:] == [
        "psccnet, 1920x1080 at its own size, the graphs alone, FPS, 100 asked: missed, 99",
        "psccnet, 1920x1080 at its own size, a frame to its result, FPS, 80 asked: reached, 81",
        "psccnet, 1920x1080 at its own size, `imdl stream` from end to end, FPS, 50 asked: not measured",
        "psccnet, 1920x1080 analysed at 512 px, a frame to its result, FPS, 400 asked: not measured",
        "psccnet, 1920x1080 at its own size, times as fast as eager PyTorch, 2.5 asked: reached, 2.7",
    ]


def test_a_race_of_another_day_has_no_say(tmp_path):
    file = tmp_path / "throughput-psccnet-test.json"
    rows = [{
        "run_by": "imdl tensorrt", "precision": "fp16", "height": 1080, "width": 1920, "batch": 1, "working_size": 0,
        "engine": {"fps": 300.0}, "frame": {"fps": 300.0}, "bound_fps": None,
    }]  # fmt: skip
    file.write_text(json.dumps({"model": "psccnet", "device": "cuda", "rows": rows, "streams": []}), encoding="utf-8")
    options = read("--results", str(tmp_path))
    os.utime(file, (1000, 1000))
    for since, reached in ((999.0, 2), (1001.0, 0)):
        judged = gpu.verdicts(["psccnet"], options, since=since)
        assert len(judged) == 5
        assert sum(floor.reached for _, floor in judged) == reached
