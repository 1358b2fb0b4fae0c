"""What is timed side by side: the SDK, two runtimes without it, and the torch model it was made from.

Each function loads one contender and returns a call from a frame uint8 [H, W, 3] to a heatmap float32 [H, W].
All see the frame at its own size and localise whatever the score, but for the one that stops at the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sdk

Frame = NDArray[np.uint8]
Heatmap = NDArray[np.float32]
Call = Callable[[Frame], Heatmap | None]
NATIVE = np.array(0, np.int64)
ANY_SCORE = np.array(0.0, np.float32)


def ours(artifact: Path, *, backend: str | None, precision: str, threads: int) -> Call:
    """The public interface, as a user calls it, result object included."""
    analyzer = sdk.load(artifact, backend=backend, precision=precision, threads=threads, working_size=0)
    return lambda frame: analyzer.analyze(frame).heatmap


def score_only(artifact: Path, *, backend: str | None, precision: str, threads: int) -> Call:
    """The public interface for frames that do not reach ``min_score``: no localisation, no heatmap."""
    analyzer = sdk.load(artifact, backend=backend, precision=precision, threads=threads, working_size=0, min_score=1.0)
    return lambda frame: analyzer.analyze(frame).heatmap


def plain_onnxruntime(artifact: Path, *, threads: int) -> Call:
    """ONNX Runtime on the whole graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(artifact / "model.onnx", options, providers=["CPUExecutionProvider"])
    return lambda frame: session.run(["heatmap"], _feeds(frame))[0][0]


def plain_openvino(artifact: Path, *, precision: str, threads: int) -> Call:
    """OpenVINO on the whole graph."""
    from sdk.backends import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.runtime().Core().compile_model(artifact / "model.onnx", "CPU", hints).create_infer_request()
    return lambda frame: request.infer(_feeds(frame))["heatmap"][0]


def eager(model: str, settings: Mapping[str, object], *, threads: int) -> Call:
    """The torch model in fp32, with fresh weights: what it takes does not depend on them, what it answers does."""
    import torch

    from training import models

    torch.set_num_threads(threads)
    detector = models.create(model, **settings).eval()

    def call(frame: Frame) -> Heatmap:
        with torch.inference_mode():
            return detector(torch.from_numpy(frame)[None])[0][0].numpy()

    return call


def compiled(model: str, settings: Mapping[str, object], *, threads: int) -> Call:
    """The torch model through torch.compile, anew for each size; bf16 where autocast allows it, channels last."""
    import torch

    from training import models

    torch.set_num_threads(threads)
    detector = models.create(model, **settings).eval().to(memory_format=torch.channels_last)
    fast = torch.compile(detector, dynamic=False)

    def call(frame: Frame) -> Heatmap:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return fast(torch.from_numpy(frame)[None])[0][0].float().numpy()

    return call


def _feeds(frame: Frame) -> dict[str, NDArray]:
    return {"frame": frame[None], "working_size": NATIVE, "min_score": ANY_SCORE}
