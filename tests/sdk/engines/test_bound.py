"""The session that binds memory and the proof of placement, with ONNX Runtime's CPU in the place of a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from sdk import artifact
from sdk.engines import bound
from sdk.errors import AnalyzerClosed, DeviceUnavailable


def opened(file) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@pytest.fixture
def local(toy_path):
    return opened(artifact.read(toy_path).file("local"))


def test_bound_runs_answer_as_plain_ones_and_outputs_are_fresh(local, rng):
    """Over more kinds of frame than are kept, each twice."""
    session = bound.BoundSession(onnxruntime, local, device="cpu", captures=False)
    sides = [(16 + 2 * kind, 20) for kind in range(bound.KINDS + 2)]
    frames = [rng.uniform(0, 255, (1, *side, 3)).astype(np.float32) for side in sides * 2]
    answers = [session.run({"pixels": frame}) for frame in frames]
    for frame, answer in zip(frames, answers, strict=True):
        l0, l1 = local.run(["l0", "l1"], {"pixels": frame})
        np.testing.assert_array_equal(answer["l0"], l0)
        np.testing.assert_array_equal(answer["l1"], l1)
    assert len(session._kinds) == bound.KINDS


def test_a_scalar_that_decides_shapes_is_no_old_one(toy_path, rng):
    """Captured launches know nothing of new values: each has buffers of its own."""
    session = bound.BoundSession(
        onnxruntime, opened(artifact.read(toy_path).file("shrink")), device="cpu", captures=False
    )
    frame = rng.integers(0, 256, (1, 40, 60, 3), dtype=np.uint8)
    shapes = [session.run({"frame": frame, "working_size": np.array(size)})["pixels"].shape for size in (30, 12, 30)]
    assert shapes == [(1, 20, 30, 3), (1, 8, 12, 3), (1, 20, 30, 3)]


def test_a_closed_session_says_so(local):
    session = bound.BoundSession(onnxruntime, local, device="cpu", captures=False)
    session.close()
    session.close()
    with pytest.raises(AnalyzerClosed, match="closed during an analysis"):
        session.submit({"pixels": np.zeros((1, 8, 8, 3), np.float32)})


def test_heavy_nodes_elsewhere_are_refused_by_kind_and_number(local):
    bound.require_placement(local, "CPUExecutionProvider", graph="local")
    with pytest.raises(DeviceUnavailable, match="run these nodes of local on the CPU: 3 Conv"):
        bound.require_placement(local, "CUDAExecutionProvider", graph="local")


def test_what_reckons_with_shapes_may_stay_on_the_cpu():
    def part(provider, *kinds):
        nodes = [SimpleNamespace(op_type=kind) for kind in kinds]
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

    parts = [part("CUDAExecutionProvider", "Conv", "MatMul"), part("CPUExecutionProvider", "Shape", "Gather", "Range")]
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    bound.require_placement(session, "CUDAExecutionProvider", graph="native")
    parts.append(part("CPUExecutionProvider", "Resize"))
    with pytest.raises(DeviceUnavailable, match="1 Resize"):
        bound.require_placement(session, "CUDAExecutionProvider", graph="native")


def test_a_runtime_that_cannot_tell_is_not_believed():
    with pytest.raises(DeviceUnavailable, match="cannot say on which device its nodes run"):
        bound.require_placement(SimpleNamespace(), "CUDAExecutionProvider", graph="native")


def test_launches_are_captured_by_kind_of_frame_and_never_while_outputs_are_placed(local, rng):
    """What the session asks of the runtime where launches are captured, and what it frees."""
    asked, freed = [], []

    class Recording:
        def __getattr__(self, name):
            return getattr(local, name)

        def run_with_iobinding(self, binding, options):
            asked.append(options.get_run_config_entry("gpu_graph_id"))
            local.run_with_iobinding(binding)

        def release_captured_graph(self, number):
            freed.append(number)

    session = bound.BoundSession(onnxruntime, Recording(), device="cpu", captures=True)
    for kind in range(bound.KINDS + 1):
        for _ in range(2):
            session.run({"pixels": rng.uniform(0, 255, (1, 16, 16 + 2 * kind, 3)).astype(np.float32)})
    assert asked[:6] == ["-1", "1", "1", "-1", "2", "2"]
    assert freed == [1]
