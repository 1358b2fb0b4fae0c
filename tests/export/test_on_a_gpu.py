"""What has to hold on a GPU for every way to run there: answers, streams, frames that lie there, errors.

The same tests run on the CPU, with the runtimes that it has. The model is the narrowest ManTra-Net, exported as any.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import sdk
from export import parity, precision
from export.engines import gate
from export.targets import aotinductor, onnx, tensorrt
from sdk import artifact
from sdk.artifact import Artifact
from sdk.engines.profile import Profile
from sdk.errors import BadFrame, DeviceUnavailable
from tests.sdk.files import scene
from training import models
from training.card import Card

HEIGHT, WIDTH, FRAMES = 72, 96, 30
PROFILE = Profile(smallest=(64, 64), usual=(HEIGHT, WIDTH), largest=(96, 128), working_size=0)
QUICK = {"aot_inductor.compile_wrapper_opt_level": "O0"}
"""The wrapper is compiled once and run a few times."""


class Case(NamedTuple):
    """A way to run."""

    backend: str
    device: str
    precision: str


WAYS = (
    pytest.param(Case("onnxruntime", "cpu", "f32"), id="onnxruntime-cpu", marks=pytest.mark.slow),
    pytest.param(Case("aotinductor", "cpu", "f32"), id="aotinductor-cpu", marks=pytest.mark.slow),
    pytest.param(Case("onnxruntime", "cuda", "f32"), id="onnxruntime-cuda", marks=pytest.mark.onnxruntime_gpu),
    pytest.param(Case("aotinductor", "cuda", "fp16"), id="aotinductor-cuda", marks=pytest.mark.gpu),
    pytest.param(Case("tensorrt", "cuda", "fp16"), id="tensorrt-cuda", marks=pytest.mark.tensorrt),
)


@pytest.fixture(scope="module")
def exported(photographs, tmp_path_factory) -> Path:
    """The artifact, which was shown to bear fp16."""
    target = tmp_path_factory.mktemp("artifacts") / "narrow"
    small = ((64, 64), (HEIGHT, WIDTH))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "SIZES", small)
        patch.setattr(parity, "WHOLE_SIZES", small)
        patch.setattr(parity, "SHRUNK", ((HEIGHT, WIDTH), 64))
        patch.setattr(precision, "SIZE", (64, 64))
        torch.manual_seed(3)
        detector = models.create("mantranet-lite", channels=4)
        settings = {"name": "narrow", "model": "mantranet-lite", "card": Card(working_size=0)}
        onnx.export(detector, target, photographs=photographs, required=("f32", "fp16"), **settings)
    return target


def with_engines(case: Case, loaded: Artifact, photographs: list[np.ndarray]) -> None:
    """Made, and judged, by the project's own targets."""
    settings = {"precision": case.precision, "profile": PROFILE, "photographs": photographs}
    if case.backend == "aotinductor":
        aotinductor.export(loaded, device=case.device, options=QUICK if case.device == "cpu" else None, **settings)
        return
    written = tensorrt.export(loaded, loaded.path, precisions=[case.precision], photographs=photographs)
    if case.backend == "tensorrt":
        tensorrt.build(written, **settings)


@pytest.fixture(scope="module", params=WAYS)
def case(request) -> Case:
    return request.param


@pytest.fixture(scope="module")
def analyzer(case, exported, photographs, tmp_path_factory) -> Iterator[sdk.Analyzer]:
    """With engines of its own, on a copy of the artifact, which gets graphs for them."""
    folder = tmp_path_factory.mktemp(f"{case.backend}-{case.device}")
    copy = shutil.copytree(exported, folder / "narrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with_engines(case, artifact.read(copy), photographs)
        chosen = {"backend": case.backend, "device": case.device, "precision": case.precision}
        with sdk.load(copy, working_size=0, decode="inline", **chosen) as opened:
            yield opened


@pytest.fixture(scope="module")
def reference(exported) -> Iterator[sdk.Analyzer]:
    """The CPU, in f32."""
    with sdk.load(exported, backend="onnxruntime", device="cpu", working_size=0, decode="inline") as opened:
        yield opened


def assert_alike(found: sdk.Analysis, expected: sdk.Analysis, *, budget: float) -> None:
    np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=budget, rtol=0)
    assert found.score == pytest.approx(expected.score, abs=budget)
    assert found.verdict == expected.verdict


def test_answers_are_those_of_the_cpu(case, analyzer, reference, rng):
    """The first frame as it comes, the next of the same size perhaps as a captured graph."""
    for height, width in ((HEIGHT, WIDTH), (HEIGHT, WIDTH), (HEIGHT, WIDTH), (96, 128), (64, 65)):
        frame = scene(rng, height, width)
        found = analyzer.analyze(frame)
        assert_alike(found, reference.analyze(frame), budget=gate.budget(case.precision))
        runtime = found.runtime
        assert (runtime.backend, runtime.device, runtime.precision) == case


def test_a_stream_is_in_order_and_answers_as_frame_by_frame(case, analyzer, rng):
    frames = [scene(rng, HEIGHT, WIDTH) for _ in range(FRAMES)]
    with sdk.stream(iter(frames), analyzer) as moments:
        found = list(moments)
    assert [moment.index for moment in found] == list(range(FRAMES))
    for moment, frame in zip(found, frames, strict=True):
        np.testing.assert_array_equal(moment.analysis.frame, frame)
        assert_alike(moment.analysis, analyzer.analyze(frame), budget=1e-6)


@contextlib.contextmanager
def lying(device: str, frame: np.ndarray) -> Iterator[tuple[Tensor, int]]:
    """``frame`` on ``device``, written late, on a stream of its own, which is the current one; and that stream."""
    if device == "cpu":
        yield torch.from_numpy(frame), 0
        return
    stream = torch.cuda.Stream()
    source = torch.from_numpy(frame).pin_memory()
    with torch.cuda.stream(stream):
        tensor = torch.zeros(frame.shape, dtype=torch.uint8, device=device)
        torch.cuda._sleep(50_000_000)  # cycles, in which whoever does not wait reads zeros
        tensor.copy_(source, non_blocking=True)
        yield tensor, stream.cuda_stream


def by_interface(tensor: Tensor, stream: int) -> SimpleNamespace:
    """With the name of its stream, which torch leaves out."""
    shown = {**tensor.__cuda_array_interface__, "version": 3, "stream": stream}
    return SimpleNamespace(__cuda_array_interface__=shown, owner=tensor)


def by_dlpack(tensor: Tensor, _stream: int) -> object:
    """By DLPack, and by nothing else that a tensor has."""
    methods = {
        "__dlpack__": staticmethod(tensor.__dlpack__),
        "__dlpack_device__": staticmethod(tensor.__dlpack_device__),
    }
    return type("Frame", (), methods)()


def test_a_frame_that_is_there_already_is_answered_as_from_the_host(case, analyzer, rng):
    protocols = (by_dlpack, by_interface) if case.device == "cuda" else (by_dlpack,)
    for shown in 3 * protocols:
        frame = scene(rng, HEIGHT, WIDTH)
        expected = analyzer.analyze(frame)
        with lying(case.device, frame) as (tensor, stream):
            found = analyzer.analyze(shown(tensor, stream))
            tensor.zero_()  # as its owner may when the call has returned
        assert_alike(found, expected, budget=1e-6)
        assert found.notes == expected.notes
        assert isinstance(found.pixels, np.ndarray) == (case.device == "cpu")
        if case.device == "cuda":
            np.testing.assert_array_equal(found.frame, frame)


def test_a_frame_of_another_shape_is_refused_wherever_it_lies(case, analyzer):
    with lying(case.device, np.zeros((HEIGHT, WIDTH, 5), np.uint8)) as (tensor, stream):
        for given in (tensor, by_dlpack(tensor, stream)):
            with pytest.raises(BadFrame, match=rf"a frame is \[H, W, 3\], got shape \[{HEIGHT}, {WIDTH}, 5\]"):
                analyzer.analyze(given)


def test_a_frame_that_no_engine_takes_is_refused(case, analyzer):
    if case.backend == "onnxruntime":
        assert analyzer.analyze(np.zeros((100, 200, 3), np.uint8)).heatmap.shape == (100, 200)
        return
    with pytest.raises(DeviceUnavailable, match=r"no engine is kept for 1 x 100x200 px[\s\S]*64x64\.\.96x128 px"):
        analyzer.analyze(np.zeros((100, 200, 3), np.uint8))
