"""A frame that is on the GPU is analysed there: nothing goes up, and what comes down is what was asked for."""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import sdk
from sdk import artifact
from sdk.backends import onnxruntime
from sdk.content import content
from sdk.engines import bound
from sdk.engines.resident import SPARE, Keeper
from tests.sdk.files import scene

HEIGHT, WIDTH = 72, 96


class Owner:
    """Somebody's array on the simulated GPU: a view of ``store``, written late, on a stream of his own."""

    def __init__(self, gpu, array: np.ndarray, *, gap: int = 0) -> None:
        height, width, channels = array.shape
        self.gpu, self.shape, self.dtype, self.pitch = gpu, array.shape, array.dtype, width * channels + gap
        rows = np.zeros((height, self.pitch), np.uint8)
        rows[:, : width * channels] = array.reshape(height, -1)
        _, self.address = gpu.cudaMalloc(rows.nbytes)
        _, self.stream = gpu.cudaStreamCreateWithFlags(0)
        gpu.cudaMemcpyAsync(self.address, rows.ctypes.data, rows.nbytes, 1, self.stream)
        self.rows = rows

    def interface(self, **changes: object) -> SimpleNamespace:
        """By ``__cuda_array_interface__``."""
        shown = {
            "data": (self.address, False), "shape": self.shape, "typestr": "|u1", "version": 3, "stream": self.stream,
            "strides": (self.pitch, self.shape[2], 1),
        }  # fmt: skip
        return SimpleNamespace(__cuda_array_interface__=shown | changes, owner=self)

    def capsule(self) -> object:
        """By DLPack, which orders the owner's work before that of whoever asks."""
        owner = self

        class Capsule:
            def __dlpack__(self, *, stream):
                event = SimpleNamespace(stream=owner.stream)
                owner.gpu.cudaStreamWaitEvent(stream, event, 0)
                size = owner.shape[0] * owner.pitch
                memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(owner.address))
                rows = memory.reshape(owner.shape[0], owner.pitch)[:, : owner.shape[1] * owner.shape[2]]
                return np.lib.stride_tricks.as_strided(rows, owner.shape, (owner.pitch, owner.shape[2], 1)).__dlpack__()

            def __dlpack_device__(self):
                return 2, 0

        return Capsule()


@pytest.fixture
def frame(rng):
    return scene(rng, HEIGHT, WIDTH, high=200)


@pytest.fixture
def analyzer(package, artifact_path):
    with sdk.load(artifact_path, backend="tensorrt", device="cuda", working_size=0, decode="inline") as loaded:
        loaded.warmup(HEIGHT, WIDTH)
        yield loaded


@pytest.fixture
def uploads(device, monkeypatch):
    """Sizes of what goes up to the GPU."""
    sizes: list[int] = []
    real = device.cudaMemcpyAsync

    def copied(target, source, size, kind, stream):
        if kind == 1:
            sizes.append(size)
        return real(target, source, size, kind, stream)

    monkeypatch.setattr(sys.modules["cuda.bindings.runtime"], "cudaMemcpyAsync", copied)
    return sizes


@pytest.mark.parametrize("protocol", ["interface", "capsule"])
@pytest.mark.parametrize("gap", [0, 32], ids=["dense", "pitched"])
def test_it_is_analysed_where_it_is_and_as_on_the_host(analyzer, device, frame, uploads, protocol, gap):
    expected = analyzer.analyze(frame)
    uploads.clear()
    device.fetched = 0
    found = analyzer.analyze(getattr(Owner(device, frame, gap=gap), protocol)())
    assert uploads == []
    assert (found.score, found.verdict, found.notes) == (expected.score, expected.verdict, ())
    np.testing.assert_array_equal(found.heatmap, expected.heatmap)
    assert not isinstance(found.pixels, np.ndarray)
    np.testing.assert_array_equal(found.frame, frame)
    assert found.runtime.decoder.startswith("none: ")


def test_of_a_large_frame_only_rows_that_the_verdict_reads_come_down(device, rng):
    large = scene(rng, 1080, 1920)
    resident = Keeper().take(Owner(device, large).interface())
    assert content(resident) == content(large)
    assert 0 < device.fetched < large.nbytes / 2


def test_its_owner_may_write_over_it_at_once(analyzer, device, frame):
    owner = Owner(device, frame)
    given = analyzer.read(owner.interface())
    ctypes.memset(owner.address, 0, owner.rows.nbytes)
    found = analyzer.analyze(given)
    np.testing.assert_array_equal(found.frame, frame)
    assert found.score == analyzer.analyze(frame).score


def test_frames_that_recur_are_launched_as_a_graph_wherever_they_lie(analyzer, device, frame):
    before = device.launches
    kept = [analyzer.analyze(Owner(device, frame).interface()) for _ in range(4)]
    assert device.launches - before >= 3
    assert len({one.pixels.address for one in kept}) == 4


@pytest.mark.parametrize("key", [np.s_[:], np.s_[::5, ::3], np.s_[3:40:2], np.s_[7:8, 2], np.s_[::-1]], ids=str)
def test_parts_of_it_are_those_of_the_array(device, frame, key):
    resident = Keeper().take(Owner(device, frame).interface())
    np.testing.assert_array_equal(resident[key], frame[key])
    rows = np.array([3, 4, 9, 40, 71])
    np.testing.assert_array_equal(resident[rows], frame[rows])


@pytest.mark.parametrize(
    ("changes", "color"),
    [
        ({"strides": (4 * WIDTH, 4, 1)}, "rgb"),
        ({}, "bgr"),
        ({"shape": (HEIGHT, WIDTH), "strides": (4 * WIDTH, 4)}, "rgb"),
    ],
    ids=["scattered", "bgr", "grey"],
)
def test_what_is_no_dense_rgb_is_copied_to_the_host_and_the_result_says_so(
    analyzer, device, frame, monkeypatch, changes, color
):
    runtime = sys.modules["cuda.bindings.runtime"]

    def copied(target, source, size, kind):
        device.cudaDeviceSynchronize()
        ctypes.memmove(target, source, size)
        return (0,)

    monkeypatch.setattr(runtime, "cudaMemcpy", copied, raising=False)
    shown = Owner(device, np.concatenate([frame, frame[..., :1]], 2)).interface(**{"shape": frame.shape} | changes)
    found = analyzer.analyze(shown, color=color)
    assert isinstance(found.pixels, np.ndarray)
    assert any(note.startswith("copied from the GPU to the host") for note in found.notes)


def test_limits_on_pixels_hold_there_too(package, artifact_path, device, frame):
    limits = sdk.Limits(pixels=1000)
    with (
        sdk.load(artifact_path, backend="tensorrt", device="cuda", limits=limits, decode="inline") as loaded,
        pytest.raises(sdk.LimitExceeded, match="the array is 96 x 72"),
    ):
        loaded.analyze(Owner(device, frame).interface())


def test_several_are_analysed_one_by_one_and_none_comes_down(analyzer, device, frame, uploads):
    owners = [Owner(device, frame).interface() for _ in range(3)]
    uploads.clear()
    found = analyzer.analyze_batch(owners)
    assert [one.latency.batch for one in found] == [1, 1, 1]
    assert uploads == []


def test_another_analyzer_on_the_host_takes_it_too(analyzer, toy_path, device, frame):
    given = analyzer.read(Owner(device, frame).interface())
    with sdk.load(toy_path, backend="onnxruntime", device="cpu", threads=1) as host:
        assert host.analyze(given).score == host.analyze(frame).score


def test_a_result_is_pickled_with_its_pixels(analyzer, device, frame):
    found = pickle.loads(pickle.dumps(analyzer.analyze(Owner(device, frame).interface())))
    np.testing.assert_array_equal(found.pixels, frame)
    assert isinstance(found.pixels, np.ndarray)


def test_memory_is_used_anew_and_given_back(device, frame):
    keeper, before = Keeper(), len(device.blocks)
    owners = [Owner(device, frame) for _ in range(SPARE + 2)]
    held = [keeper.take(owner.interface()) for owner in owners]
    addresses = {one.address for one in held}
    assert len(device.blocks) == before + 2 * (SPARE + 2)
    held.clear()
    gc.collect()
    assert len(device.blocks) == before + SPARE + 2 + SPARE
    again = keeper.take(owners[0].interface())
    assert again.address in addresses
    keeper.close()
    np.testing.assert_array_equal(np.asarray(again), frame)
    del again
    gc.collect()
    assert len(device.blocks) == before + SPARE + 2


def test_onnxruntime_reads_it_where_it_lies(device, toy_path, rng):
    """With its CPU in the place of a GPU: the copy goes to where the nodes read."""
    loaded = onnxruntime.runtime()
    session = bound.BoundSession(
        loaded,
        loaded.InferenceSession(str(artifact.read(toy_path).file("shrink")), providers=["CPUExecutionProvider"]),
        device="cpu",
        captures=False,
    )
    size = {"working_size": np.array(30)}
    for _ in range(2):
        one = scene(rng, 40, 60)
        resident = Keeper().take(Owner(device, one).interface())
        answer = session.run({"frame": resident.batch(), **size})["pixels"]
        np.testing.assert_array_equal(answer, session.run({"frame": one[None], **size})["pixels"])
    session.close()
