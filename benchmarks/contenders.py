"""What is timed side by side: the SDK, two runtimes without it, and the torch model it was made from.

Each function loads one contender and returns a call from a frame uint8 [H, W, 3] to its answer. All see the frame at
its own size and localise whatever the score, but for the one that stops at the score.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


class Answer(NamedTuple):
    """What a contender makes of a frame."""

    heatmap: NDArray[np.float32] | None
    """[H, W] in [0, 1]; None from the one that stops at the score."""
    score: float


Call = Callable[[Frame], Answer]
OUTPUTS = ["heatmap", "score"]
SETTINGS = {"working_size": np.array(0, np.int64), "min_score": np.array(0.0, np.float32)}
"""What our graph takes beside the frame: its own size, any score."""
NEVER = 2.0
"""A score that no frame reaches."""
DETECTOR, PLAIN, FACTS = "detector.pt", "plain.onnx", "facts.json"
"""Files of :mod:`benchmarks.torch_side`: the torch model, its plain export, what is known about it."""


def ours(artifact: str, *, backend: str, precision: str, threads: int, min_score: float = 0.0) -> Call:
    """The public interface, as a user calls it, result object included."""
    import sdk

    analyzer = sdk.load(
        artifact, backend=backend, precision=precision, threads=threads, working_size=0, min_score=min_score
    )

    def call(frame: Frame) -> Answer:
        analysis = analyzer.analyze(frame)
        return Answer(analysis.heatmap, analysis.score)

    return call


def onnxruntime_graph(file: str, *, threads: int) -> Call:
    """ONNX Runtime on one graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(Path(file), options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}

    def call(frame: Frame) -> Answer:
        heatmap, score = session.run(OUTPUTS, _feeds(frame, names))
        return Answer(heatmap[0], float(score[0]))

    return call


def openvino_graph(file: str, *, precision: str, threads: int) -> Call:
    """OpenVINO on one graph."""
    from sdk.backends import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.runtime().Core().compile_model(file, "CPU", hints)
    names = {name for value in compiled.inputs for name in value.names}
    request = compiled.create_infer_request()

    def call(frame: Frame) -> Answer:
        found = request.infer(_feeds(frame, names))
        return Answer(found["heatmap"][0], float(found["score"][0]))

    return call


def eager(checkpoint: str, *, threads: int) -> Call:
    """The torch model in f32, as PyTorch runs it."""
    import torch

    from training import checkpoints

    torch.set_num_threads(threads)
    detector = checkpoints.load(Path(checkpoint)).eval()

    def call(frame: Frame) -> Answer:
        with torch.inference_mode():
            heatmap, score = detector(torch.from_numpy(frame)[None])
        return Answer(heatmap[0].numpy(), float(score))

    return call


def compiled(checkpoint: str, *, threads: int) -> Call:
    """The torch model through torch.compile for one size; bf16 where autocast allows it, channels last."""
    import torch

    from training import checkpoints

    torch.set_num_threads(threads)
    detector = checkpoints.load(Path(checkpoint)).eval().to(memory_format=torch.channels_last)
    fast = torch.compile(detector, dynamic=False)

    def call(frame: Frame) -> Answer:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            heatmap, score = fast(torch.from_numpy(frame)[None])
        return Answer(heatmap[0].float().numpy(), float(score))

    return call


def _feeds(frame: Frame, names: set[str]) -> dict[str, NDArray]:
    return {name: value for name, value in {"frame": frame[None], **SETTINGS}.items() if name in names}
