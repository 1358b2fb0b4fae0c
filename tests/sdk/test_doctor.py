"""The doctor names what is there, what is chosen, and what may go wrong."""

from __future__ import annotations

import shutil

import pytest

from kernels import library
from sdk import artifact, backends, doctor
from tests.sdk import toy_ensemble


def test_tells_the_choice_and_what_speaks_against_the_others(toy_path):
    lines, healthy = doctor.report(toy_path)
    assert healthy
    assert any(line.startswith("artifact toy-0.1 (preview), SHA-256 ") for line in lines)
    for name in backends.names():
        runs_here = name in {"onnxruntime", "openvino"}
        assert any(line.startswith(f"{name} on cpu: {'f32' if runs_here else ''}") for line in lines)
        assert any(line.startswith(f"{name} on cuda: ") for line in lines)
    assert lines[-1].startswith("chosen: ")


def test_without_a_runtime_it_is_not_healthy_and_says_what_to_install(toy_path, monkeypatch):
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setattr(backends.get(name), "find_spec", lambda package: None)
    lines, healthy = doctor.report(toy_path)
    assert not healthy
    assert "openvino on cpu: openvino is not installed" in lines
    assert "imdl-sdk[cpu]" in lines[-1]


def test_without_an_artifact_it_is_not_healthy(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path)
    lines, healthy = doctor.report()
    assert not healthy
    assert "cannot analyse: no artifact ships" in lines[-1]


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ({"opencv-python", "opencv-python-headless"}, "opencv-python and opencv-python-headless overwrite"),
        ({"onnxruntime", "onnxruntime-gpu"}, "onnxruntime and onnxruntime-gpu overwrite"),
        ({"openvino-telemetry"}, "openvino-telemetry, which reports every import"),
    ],
)
def test_warns_of_what_should_not_be_installed(monkeypatch, packages, words):
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0" if name in packages else None)
    (warning,) = doctor.warnings()
    assert words in warning


@pytest.mark.parametrize("package", ["onnxruntime", "onnxruntime-gpu"])
@pytest.mark.parametrize(
    ("version", "silence", "warned"),
    [
        ("1.29.0", None, True),
        ("1.31.1.dev20261101", None, True),
        ("2.0", None, True),
        ("1.29.0", "1", False),
        ("1.28.9", None, False),
        ("1.3.0", None, False),
    ],
)
def test_warns_of_an_onnxruntime_that_reports(monkeypatch, package, version, silence, warned):
    monkeypatch.setattr(doctor, "installed", lambda name: version if name == package else None)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if silence:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", silence)
    told = [line for line in doctor.warnings() if line.startswith(f"{package} {version} reports its sessions")]
    assert len(told) == warned
    assert all("ORT_DISABLE_TELEMETRY=1" in line for line in told)


def test_installed_is_a_version_or_none():
    assert doctor.installed("numpy")
    assert doctor.installed("no-such-distribution") is None


def test_tells_which_operators_are_native(toy_path, native):
    assert "zpool2d is native on the CPU" in doctor.report(toy_path)[0]


def test_tells_why_no_operator_is_native(toy_path, monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    lines, healthy = doctor.report(toy_path)
    assert healthy
    assert "native operators: none, not built: make native builds it in a checkout" in lines


def test_of_an_ensemble_every_model_is_looked_at(tmp_path):
    path = toy_ensemble.build(tmp_path)
    lines, healthy = doctor.report(path)
    assert healthy
    assert [line.split(" (")[0] for line in lines if line.startswith(("ensemble", "artifact "))] == [
        "ensemble both-0.1", "artifact first-0.1", "artifact second-0.1"
    ]  # fmt: skip
    assert len([line for line in lines if line.startswith("chosen")]) == 2
    shutil.rmtree(tmp_path / "second")
    lines, healthy = doctor.report(path)
    assert (healthy, "no model named 'second'" in lines[-1]) == (False, True)
