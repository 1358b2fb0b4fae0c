"""Packages of AOTInductor on a simulated GPU: in order, after the frame's owner, captured where that can be."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from sdk import dlpack
from sdk.engines import aoti_run
from tests.sdk.engines.simulated_torch import Torch
from tests.sdk.engines.test_tensorrt import expected, frames, on_gpu


@pytest.fixture
def torch(device, monkeypatch):
    made = Torch(device)
    monkeypatch.setattr(aoti_run, "_torch", lambda: made)
    return made


@pytest.fixture
def package(torch):
    return aoti_run.Package(b"compiled", device="cuda")


def heatmap(package, frame) -> np.ndarray:
    return package.start({"frame": frame}).result()["heatmap"]


def test_answers_come_in_order_and_belong_to_the_caller(package, rng):
    sent = frames(rng, 7)
    pending = [package.start({"frame": frame}) for frame in sent]
    answers = [one.result() for one in pending]
    again = [package.start({"frame": frame}).result() for frame in sent[:4]]
    for frame, answer in zip(sent + sent[:4], answers + again, strict=True):
        np.testing.assert_array_equal(answer["heatmap"], expected(frame))
        np.testing.assert_allclose(answer["score"], expected(frame).mean(), rtol=1e-6)


def test_the_caller_may_write_over_a_frame_that_was_started(package, device, rng):
    (frame,) = frames(rng, 1)
    wanted = expected(frame)
    pending = package.start({"frame": frame})
    assert [len(work) for work in device.streams.values() if work] == [4]  # up, the work, two down; nothing waited for
    frame[:] = 0
    np.testing.assert_array_equal(pending.result()["heatmap"], wanted)


def test_frames_that_recur_are_replayed_as_a_graph(package, device, rng):
    for height in (24, 24, 24, 16, 16, 24):
        (frame,) = frames(rng, 1, height, 40)
        np.testing.assert_array_equal(heatmap(package, frame), expected(frame))
    assert device.launches == 4
    assert device.executions == 4  # of either shape the first, and the capture


def test_graphs_of_shapes_that_came_long_ago_are_let_go(package, device, rng):
    for height in range(8, 8 + aoti_run.GRAPHS + 1):
        for frame in frames(rng, 2, height, 16):
            np.testing.assert_array_equal(heatmap(package, frame), expected(frame))
    (slot,) = package._idle
    assert [shape[1] for shape in slot._graphs] == list(range(9, 9 + aoti_run.GRAPHS))


def test_what_cannot_be_captured_runs_all_the_same_and_is_tried_once(package, device, rng, caplog):
    device.capturable = False
    for frame in frames(rng, 4):
        np.testing.assert_array_equal(heatmap(package, frame), expected(frame))
    assert device.launches == 0
    (said,) = caplog.messages
    assert said.startswith("frames of shape (1, 24, 32, 3) run without a CUDA graph: CUDA error")


class Frame(SimpleNamespace):
    """One whose end can be seen."""


def silent(device, frame) -> SimpleNamespace:
    """A frame whose owner does not name the stream that has yet to write it."""
    found = on_gpu(device, frame)
    found.__cuda_array_interface__["stream"] = None
    return found


def by_dlpack(device, frame) -> SimpleNamespace:
    """A frame that is handed over by the other protocol alone."""
    interface = on_gpu(device, frame).__cuda_array_interface__

    def handed_over(*, stream):
        device.cudaStreamWaitEvent(stream, SimpleNamespace(stream=interface["stream"]), 0)
        return interface["data"][0], frame.shape

    methods = {"__dlpack__": staticmethod(handed_over), "__dlpack_device__": staticmethod(lambda: (dlpack.CUDA, 0))}
    return type("Frame", (), {**methods, "shape": frame.shape})()


@pytest.mark.parametrize("given", [on_gpu, silent, by_dlpack])
def test_a_frame_on_the_gpu_is_read_after_its_owner_wrote_it(package, device, rng, given):
    """The first as it comes, the next as a captured graph."""
    for frame in frames(rng, 4):
        np.testing.assert_array_equal(heatmap(package, given(device, frame)), expected(frame))
    assert device.launches == 3


def test_a_frame_on_the_gpu_is_kept_until_it_was_read(package, device, rng):
    """Who gave it may let go of it at once; memory that is free is given to the next."""
    (pixels,) = frames(rng, 1)
    frame = Frame(**vars(on_gpu(device, pixels)))
    for _ in range(2):
        heatmap(package, on_gpu(device, pixels))
    gone = weakref.ref(frame)
    pending = package.start({"frame": frame})
    del frame
    gc.collect()
    assert gone() is not None
    pending.result()
    del pending
    gc.collect()
    assert gone() is None


def test_what_is_in_float32_keeps_every_bit(torch, package, rng):
    """In every precision: the first convolution is in float32 in all."""
    heatmap(package, frames(rng, 1)[0])
    assert torch.tf32 == [False]
