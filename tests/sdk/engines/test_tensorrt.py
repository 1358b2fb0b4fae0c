"""The backend tensorrt on a simulated GPU: engines are found, built when asked, refused with a reason, run in order."""

from __future__ import annotations

import dataclasses
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import sdk
from sdk import artifact, backends
from sdk.backends import tensorrt
from sdk.engines import gpu, trt
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.errors import DeviceUnavailable, LimitExceeded, RunFailed

SIZE = Profile(smallest=(8, 8), usual=(24, 32), largest=(64, 64), batch=2)


def frames(rng, count: int, height: int = 24, width: int = 32) -> list[np.ndarray]:
    return [rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8) for _ in range(count)]


def expected(frame: np.ndarray) -> np.ndarray:
    return frame[..., 0] / np.float32(255)


def test_without_an_engine_an_analysis_says_so_and_builds_none(session, package, rng):
    words = r"no engine is kept for 1 x 24x32 px at working size native[\s\S]*warmup\(24, 32\)"
    with pytest.raises(DeviceUnavailable, match=words):
        session.run({"frame": frames(rng, 1)[0]})
    assert package.builds == 0


def test_a_built_engine_answers_and_is_not_built_again(session, package, rng):
    session.build(SIZE)
    session.build(dataclasses.replace(SIZE, batch=1))  # one that serves its frames is there
    (frame,) = frames(rng, 1)
    answer = session.run({"frame": frame})
    np.testing.assert_array_equal(answer["heatmap"], expected(frame))
    np.testing.assert_allclose(answer["score"], expected(frame).mean(), rtol=1e-6)
    assert package.builds == 1
    (entry,) = Cache().entries()
    assert (entry.key.target, entry.key.version, entry.key.precision) == ("sm_90", "11.4.0.106", "fp16")


def test_answers_come_in_order_and_belong_to_the_caller(session, device, rng):
    """Work is done as late as can be: a buffer that is used twice too soon shows in an answer."""
    session.build(SIZE)
    sent = frames(rng, 7)
    pending = [session.submit({"frame": frame}) for frame in sent]
    answers = [one.result()["heatmap"] for one in pending]
    again = [session.run({"frame": frame})["heatmap"] for frame in sent[:3]]
    for frame, answer in zip(sent + sent[:3], answers + again, strict=True):
        np.testing.assert_array_equal(answer, expected(frame))
        assert answer.flags.writeable


def test_frames_that_recur_are_launched_as_a_graph(session, device, rng):
    session.build(SIZE)
    for frame in frames(rng, 5):
        np.testing.assert_array_equal(session.run({"frame": frame})["heatmap"], expected(frame))
    assert device.launches == 4
    assert device.executions == 2  # the first, and the capture
    for frame in frames(rng, 2, 16, 40):
        np.testing.assert_array_equal(session.run({"frame": frame})["heatmap"], expected(frame))


def test_where_nothing_can_be_captured_it_runs_all_the_same(session, device, rng):
    device.capturable = False
    session.build(SIZE)
    for frame in frames(rng, 4):
        np.testing.assert_array_equal(session.run({"frame": frame})["heatmap"], expected(frame))
    assert device.launches == 0


def test_many_threads_share_a_session(session, rng):
    session.build(SIZE)
    sent = frames(rng, 24)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda frame: session.run({"frame": frame})["heatmap"], sent))
    for frame, answer in zip(sent, answers, strict=True):
        np.testing.assert_array_equal(answer, expected(frame))


def test_all_memory_is_given_back(session, device, rng):
    session.build(SIZE)
    for frame in frames(rng, 3):
        session.run({"frame": frame})
    assert device.blocks
    session.close()
    session.close()
    gc.collect()
    assert not device.blocks
    assert not device.streams


def test_want_of_memory_is_said(session, device, rng):
    session.build(SIZE)
    device.memory = 100
    with pytest.raises(LimitExceeded, match="the GPU has no 2304 bytes left"):
        session.run({"frame": frames(rng, 1)[0]})


def on_gpu(device, frame: np.ndarray, *, strides=None) -> SimpleNamespace:
    """A frame in memory of the GPU whose owner's stream has yet to write it."""
    _, address = device.cudaMalloc(frame.nbytes)
    _, stream = device.cudaStreamCreateWithFlags(0)
    device.cudaMemcpyAsync(address, frame.ctypes.data, frame.nbytes, 1, stream)
    interface = {
        "data": (address, False), "shape": frame.shape, "typestr": "|u1", "version": 3, "stream": stream,
        "strides": strides,
    }  # fmt: skip
    return SimpleNamespace(__cuda_array_interface__=interface, shape=frame.shape, dtype=frame.dtype)


def test_a_frame_on_the_gpu_is_read_there_after_its_owner_wrote_it(session, device, rng):
    session.build(SIZE)
    (frame,) = frames(rng, 1)
    answer = session.run({"frame": on_gpu(device, frame)})
    np.testing.assert_array_equal(answer["heatmap"], expected(frame))
    with pytest.raises(DeviceUnavailable, match="gaps between its pixels"):
        session.run({"frame": on_gpu(device, frame, strides=(9999, 128, 4, 1))})


def test_an_engine_of_another_version_is_refused_and_built_again_when_asked(session, package, artifact_path, rng):
    session.build(SIZE)
    (entry,) = Cache().entries()
    other = b'{"version": "10.13", "shapes": {}, "values": {}}'
    Cache().put(entry.key, other)
    with pytest.raises(DeviceUnavailable, match=r"tensorrt 11\.4\.0\.106 refuses an engine"):
        session.run({"frame": frames(rng, 1)[0]})
    session.build(SIZE)
    assert package.builds == 2
    assert session.run({"frame": frames(rng, 1)[0]})["score"].shape == (1,)


def test_a_damaged_engine_is_never_loaded(session, package, rng):
    session.build(SIZE)
    (entry,) = Cache().entries()
    entry.file.write_bytes(b"x" * entry.size)
    with pytest.raises(sdk.ArtifactInvalid, match="an engine is damaged"):
        session.run({"frame": frames(rng, 1)[0]})
    session.build(SIZE)
    assert package.builds == 2


def test_frames_beyond_the_profile_are_told_what_there_is(session, rng):
    session.build(SIZE)
    with pytest.raises(DeviceUnavailable, match=r"80x80 px at working size native, only for 8x8\.\.64x64 px, 2"):
        session.run({"frame": frames(rng, 1, 80, 80)[0]})


def test_a_context_that_refuses_a_shape_is_an_error_not_an_answer(session, rng):
    session.build(SIZE)
    session._engines = {}
    (entry,) = Cache().entries()
    Cache().put(entry.key, entry.read().replace(b"64, 64", b"16, 16"))
    with pytest.raises(RunFailed, match="refuses frames of shape"):
        session.run({"frame": frames(rng, 1)[0]})


def test_auto_takes_it_only_with_an_engine_and_by_name_it_can_be_built(artifact_path, package, rng):
    loaded = artifact.read(artifact_path)
    choice = backends.choose(loaded)
    assert choice.device == "cpu"
    assert "no engine is built for this machine" in choice.against["tensorrt on cuda"][0]
    frame = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    with sdk.load(artifact_path, backend="tensorrt", device="cuda", working_size=0) as analyzer:
        assert analyzer.choice.precision == "fp16"
        with pytest.raises(DeviceUnavailable, match="no engine is kept"):
            analyzer.analyze(frame)
        analyzer.warmup(50, 60)
        analysis = analyzer.analyze(frame)
        np.testing.assert_array_equal(analysis.heatmap, expected(frame))
        assert package.builds == 1
        assert analyzer.analyze(frame, min_score=1.0).heatmap is None
    chosen = backends.choose(loaded)
    assert (chosen.backend, chosen.device, chosen.precision) == ("tensorrt", "cuda", "fp16")


def test_a_working_size_is_one_engine_for_all(artifact_path, package, rng):
    with sdk.load(artifact_path, backend="tensorrt", device="cuda") as analyzer:
        analyzer.warmup(80, 100)
        frame = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
        np.testing.assert_array_equal(analyzer.analyze(frame).heatmap, expected(frame))
    (entry,) = Cache().entries()
    assert entry.key.graph == "shrunk"


def test_progress_of_a_build_is_told_to_the_log(session, caplog):
    with caplog.at_level("INFO", logger="imdl.tensorrt"):
        session.build(SIZE)
    assert "Building: 2 of 2" in caplog.messages


def test_what_a_build_learned_is_used_by_the_next(session, package):
    session.build(SIZE)
    session.build(dataclasses.replace(SIZE, usual=(70, 70), largest=(90, 90)))
    (learned,) = Cache().folder.glob("*.learned")
    assert learned.read_bytes() == b"timingstimings"
    assert len(Cache().entries()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": lambda: 0}, "no NVIDIA driver with a GPU was found"),
        ({}, "has no graphs for engines: python -m export tensorrt {path}"),
    ],
)
def test_reasons_are_sentences(toy_path, package, monkeypatch, change, words):
    for name, value in change.items():
        monkeypatch.setattr(gpu, name, value)
    (reason,) = tensorrt.reasons_against(artifact.read(toy_path), device="cuda")
    assert words.format(path=toy_path) in reason


def test_without_nvidias_bindings_that_is_the_reason(artifact_path, package, monkeypatch):
    """Before a session: an engine that was chosen and cannot be fed would end the first analysis."""
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    (reason,) = tensorrt.reasons_against(artifact.read(artifact_path), device="cuda")
    assert reason == "memory of a GPU needs the package cuda-bindings, which is not installed"


def test_a_package_that_does_not_compile_for_the_gpu_says_so(artifact_path, package, monkeypatch):
    module = sys.modules["tensorrt"]
    monkeypatch.setattr(module, "ComputeCapability", SimpleNamespace(__members__={"SM86": 1}), raising=False)
    monkeypatch.setattr(trt, "PACKAGES", ("tensorrt",))
    (reason,) = tensorrt.reasons_against(artifact.read(artifact_path), device="cuda")
    assert reason == "tensorrt 11.4.0.106 does not compile for sm_90"
