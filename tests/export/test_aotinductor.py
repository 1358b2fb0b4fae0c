"""AOTInductor: what is compiled on the CPU answers as the model does, through the code that a GPU runs it with.

One package, of a detector with two convolutions and all that is around a network, for any size, at a working size.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import sdk
from export import parity
from export.engines import gate
from export.targets import aotinductor as target
from sdk import artifact
from sdk.backends import aotinductor
from sdk.contract import ParityRow
from sdk.engines import aoti_backend
from sdk.engines.aoti_backend import Kind
from sdk.engines.aoti_run import Package
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.errors import DeviceUnavailable, ParityFailed
from tests.export import tiny
from tests.sdk import toy

PROFILE = Profile(smallest=(32, 32), usual=(48, 64), largest=(96, 128), working_size=40)
QUICK = {"aot_inductor.compile_wrapper_opt_level": "O0"}
"""The wrapper is compiled once and run a few times."""
PAIR = (np.full((48, 64, 3), 128, np.uint8), np.eye(48, 64, dtype=bool))
"""A frame of an evaluation folder, and its mask."""


@pytest.fixture(scope="module")
def package() -> bytes:
    return target.compiled(tiny.detector(), device="cpu", precision="f32", profile=PROFILE, options=QUICK)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """The toy artifact, which stands for the tiny model here, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(target, "thaw", lambda artifact: tiny.detector())
    same = ParityRow(
        case="", backend="", precision="f32", size=(1, 1), max_abs_heatmap=0.0, max_abs_score=0.0, budget=1e-4
    )
    monkeypatch.setattr(gate, "thawed_row", lambda *_: same)
    return artifact.read(toy.build(tmp_path / "toy", working_size=40))


@pytest.fixture
def exported(loaded, package, photographs, monkeypatch):
    """Through the target, gate included, with the package that is compiled already."""
    monkeypatch.setattr(target, "compiled", lambda *_, **__: package)
    settings = {"device": "cpu", "precision": "f32", "profile": PROFILE, "photographs": photographs}
    return loaded, target.export(loaded, **settings), settings


def truth(frame: np.ndarray) -> tuple[np.ndarray, float]:
    with torch.inference_mode():
        heatmap, score = tiny.detector()(torch.from_numpy(frame)[None], PROFILE.working_size)
    return heatmap[0].numpy(), float(score[0])


@pytest.mark.slow
def test_the_gate_is_passed_and_the_package_is_kept_once(exported):
    loaded, (entry, rows), settings = exported
    assert not parity.over_budget(rows)
    assert {row.size for row in rows[1:]} == {(32, 32), (48, 64), (96, 128)}
    assert entry.facts["model"] == "toy-0.1"
    assert target.export(loaded, **settings) == (entry, rows)
    assert len(Cache().entries()) == 1


@pytest.mark.slow
def test_the_sdk_runs_it_at_any_size_of_its_range(exported, rng):
    loaded, _, _ = exported
    with sdk.load(loaded.path, backend="aotinductor", device="cpu", working_size=40) as analyzer:
        for height, width in ((50, 70), (96, 128), (45, 33)):
            frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            frame.flags.writeable = False
            analysis = analyzer.analyze(frame)
            heatmap, score = truth(frame.copy())
            np.testing.assert_allclose(analysis.heatmap, heatmap, atol=1e-6)
            assert analysis.score == pytest.approx(score, abs=1e-6)
        with pytest.raises(DeviceUnavailable, match=r"100x200 px at working size 40, only for 32x32\.\.96x128 px"):
            analyzer.analyze(np.zeros((100, 200, 3), np.uint8))


@pytest.mark.slow
def test_threads_share_a_package_and_answers_are_their_own(package, rng):
    engine = Package(package, device="cpu")
    frames = [rng.integers(0, 256, (1, 48, 64, 3), dtype=np.uint8) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda frame: engine.start({"frame": frame}).result(), frames))
    for frame, answer in zip(frames, answers, strict=True):
        np.testing.assert_allclose(answer["heatmap"][0], truth(frame[0])[0], atol=1e-6)
        answer["heatmap"][:] = 0


@pytest.mark.slow
def test_a_package_that_answers_otherwise_is_not_kept(loaded, package, photographs, monkeypatch):
    other = tiny.detector()
    other.calibration.copy_(torch.tensor([2.0, 3.0]))
    monkeypatch.setattr(target, "thaw", lambda artifact: other)
    monkeypatch.setattr(target, "compiled", lambda *_, **__: package)
    with pytest.raises(ParityFailed, match="differ from the torch model"):
        target.export(loaded, device="cpu", precision="f32", profile=PROFILE, photographs=photographs)
    assert Cache().entries() == []


@pytest.mark.slow
def test_a_fall_of_the_auc_on_an_evaluation_folder_refuses_the_engine(loaded, package, photographs, monkeypatch):
    """A precision may stay within the budget of a probability and still lose what counts."""
    monkeypatch.setattr(target, "compiled", lambda *_, **__: package)
    monkeypatch.setattr(gate, "auc_fall", lambda *_, **__: 0.01)
    settings = {"device": "cpu", "precision": "f32", "profile": PROFILE, "photographs": photographs}
    with pytest.raises(ParityFailed, match=r"pixel AUC on the evaluation folder is 0\.0100 below"):
        target.export(loaded, evaluation=[PAIR], **settings)
    assert Cache().entries() == []


@pytest.mark.slow
def test_a_kept_package_is_judged_by_what_is_given_now(exported, monkeypatch):
    loaded, _, settings = exported
    monkeypatch.setattr(gate, "auc_fall", lambda *_, **__: 0.01)
    with pytest.raises(ParityFailed, match=r"pixel AUC on the evaluation folder is 0\.0100 below"):
        target.export(loaded, evaluation=[PAIR], **settings)
    assert Cache().entries() == []


def test_auc_fall_is_the_mean_over_frames_with_a_mask():
    masks = [np.eye(8, dtype=bool), np.zeros((8, 8), bool), np.tri(8, dtype=bool)]
    pairs = gate.fitting([(mask.astype(np.uint8), mask) for mask in masks], Profile.only(8, 8))
    assert len(pairs) == 2

    def right(frame, _size):
        return frame.astype(np.float32), 1.0

    def wrong(frame, _size):
        return 1 - frame.astype(np.float32), 1.0

    assert gate.auc_fall(right, right, pairs, working_size=0) == 0
    assert gate.auc_fall(wrong, right, pairs, working_size=0) == 1


@pytest.mark.parametrize(("device", "parallel"), [("cpu", 1), ("cuda", 3)])
def test_as_many_runs_are_promised_as_are_computed_side_by_side(loaded, device, parallel):
    session = aotinductor.open(loaded, "frame", device=device, precision="f32", threads=None)
    assert session.parallel == parallel


def test_without_a_package_the_reason_says_how_to_compile_one(loaded):
    (reason,) = aotinductor.reasons_against(loaded, device="cpu")
    assert reason == f"no package is compiled for this machine: python -m export aotinductor {loaded.path} --device cpu"


def test_without_torch_the_reason_is_that(loaded, monkeypatch):
    monkeypatch.setattr(aoti_backend, "_version", lambda: None)
    assert aotinductor.reasons_against(loaded, device="cpu") == ["torch is not installed"]


def test_a_package_of_another_torch_or_cpu_says_so(loaded, monkeypatch):
    key = Kind(plugins=False).key(loaded, "f32", PROFILE, device="cpu")
    Cache().put(dataclasses.replace(key, version="2.11.0+cu130"), b"1")
    Cache().put(dataclasses.replace(key, target="x86_64 00000000"), b"1")
    (reason,) = aotinductor.reasons_against(loaded, device="cpu")
    assert f"there is an engine of torch 2.11.0+cu130, {key.version} is installed" in reason
    assert f"there is an engine for x86_64 00000000, this machine has {key.target}" in reason


def test_bytes_that_are_no_package_are_refused_in_words():
    with pytest.raises(DeviceUnavailable, match="cannot load a package"):
        Package(b"not a package", device="cpu")
