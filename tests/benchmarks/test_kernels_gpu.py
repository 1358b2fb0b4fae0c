"""What is run on a GPU for the kernels' sake, with stubs in the place of its tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import kernels_gpu

NCU = """==PROF== Profiling "zscores": 0%....100% - 9 passes
"ID","Kernel Name","Grid Size","dram__bytes.sum","gpu__time_duration.sum","sm__inst_executed_pipe_tensor.sum","smsp__x"
"","","","Gbyte","us","inst","%"
"0","zscores","(1, 1, 1)","1.25","1,371.5","0","3"
"1","spatial_on_tensor_cores","(64, 4, 1)","n/a","29.5","4096","3"
"""
ALL = dict.fromkeys(("gpu", "torch", "nvcc", "compute-sanitizer", "ncu"), "yes")


@pytest.fixture
def stubs(tmp_path, monkeypatch) -> Path:
    """Python and both tools: racecheck finds a race, ncu writes what it does."""
    (tmp_path / "profile.csv").write_text(NCU, encoding="utf-8")
    scripts = {
        "python": 'echo "python $REQUIRE_GPU"',
        "compute-sanitizer": 'echo "ERROR SUMMARY"; case "$2" in racecheck) exit 1;; esac',
        "ncu": f'while [ "$1" != --log-file ]; do shift; done; cp {tmp_path}/profile.csv "$2"',
    }
    for name, body in scripts.items():
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("REQUIRE_GPU", "0")
    monkeypatch.setattr(kernels_gpu.sys, "executable", str(tmp_path / "python"))
    return tmp_path


def test_all_steps_are_run_and_what_came_is_written(stubs, monkeypatch):
    monkeypatch.setattr(kernels_gpu, "facts", lambda: ALL)
    assert kernels_gpu.main(["--host", "stub", "--results", str(stubs)]) == 1
    result = json.loads((stubs / "kernels-gpu-stub.json").read_text(encoding="utf-8"))
    outcomes = {step["name"]: step["outcome"] for step in result["steps"]}
    assert outcomes.pop("racecheck") == "failed"
    assert set(outcomes.values()) == {"done"}
    assert {"build", "tests", "times of zpool2d", "times of sccm_attention", "memcheck", "synccheck", "ncu"} <= {
        *outcomes
    }
    assert result["steps"][1]["told"] == ["python 1"]  # a test that is skipped would be a failure
    pooling, attention = result["kernels"]
    assert pooling["figures"]["gpu__time_duration.sum"] == {"value": 1372.0, "unit": "us"}
    assert "smsp__x" not in pooling["figures"]
    assert attention["figures"]["sm__inst_executed_pipe_tensor.sum"]["value"] == 4096
    assert attention["figures"]["dram__bytes.sum"]["value"] == "n/a"


def test_what_is_lacking_is_left_out_and_said(stubs, monkeypatch):
    monkeypatch.setattr(kernels_gpu, "facts", lambda: ALL | {"gpu": "", "ncu": ""})
    assert kernels_gpu.main(["--host", "none", "--results", str(stubs)]) == 0
    result = json.loads((stubs / "kernels-gpu-none.json").read_text(encoding="utf-8"))
    outcomes = {step["name"]: step["outcome"] for step in result["steps"]}
    assert outcomes["memcheck"] == "left out: gpu was not found"
    assert outcomes["ncu"] == "left out: gpu was not found; ncu was not found"
    assert result["kernels"] == []


def test_a_dry_run_prints_and_does_nothing(stubs, capsys):
    assert kernels_gpu.main(["--host", "h", "--dry-run", "--results", str(stubs)]) == 0
    told = capsys.readouterr().out
    assert "racecheck: compute-sanitizer --tool racecheck --error-exitcode 1" in told
    assert "--full" in told.splitlines()[-1]
    assert not list(stubs.glob("*.json"))


def test_a_profile_that_broke_off_holds_no_kernels():
    assert kernels_gpu.profiled("==ERROR== no permission\n") == []
    assert kernels_gpu.profiled('"ID","Kernel Name"\n') == []
