"""What is timed side by side: the SDK, two runtimes without it, and the torch model it was made from.

Each function loads one contender and returns a call from a frame uint8 [H, W, 3] to its answer. Unless told otherwise
all see the frame at its own size, and localise whatever the score, but for the one that stops at the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import jpeg

Frame = NDArray[np.uint8]


class Answer(NamedTuple):
    """What a contender makes of a frame."""

    heatmap: NDArray[np.float32] | None
    """[H, W] in [0, 1]; None from the one that stops at the score."""
    score: float
    stages: Mapping[str, float] | None = None
    """Milliseconds by stage, where the contender tells them."""


Call = Callable[[Frame], Answer]
HOST_STAGES = ("decode", "result")
"""Stages that are no graph's."""
OUTPUTS = ["heatmap", "score"]
SETTINGS = {"working_size": np.array(0, np.int64), "min_score": np.array(0.0, np.float32)}
"""What our graph takes beside the frame: its own size, any score."""
HARDLY = 1.0
"""A score that next to no frame reaches."""
DETECTOR, PLAIN, FACTS = "detector.pt", "plain.onnx", "facts.json"
"""Files of :mod:`benchmarks.torch_side`: the torch model, its plain export, what is known about it."""


def ours(
    artifact: str,
    *,
    backend: str,
    precision: str,
    threads: int,
    device: str = "auto",
    working_size: int = 0,
    min_score: float = 0.0,
    batch: int = 1,
    as_file: bool = False,
) -> Call:
    """The public interface, as a user calls it, result object included.

    ``batch`` analyses the frame so many times in one call; ``as_file`` analyses the bytes of its JPEG, which is made
    at the first call and decoded at each. On a GPU the first call also builds what has to be built for its size.
    """
    import sdk

    analyzer = sdk.load(
        artifact, device=device, backend=backend, precision=precision, threads=threads, working_size=working_size,
        min_score=min_score,
    )  # fmt: skip
    inputs: list[Frame | bytes] = []

    def call(frame: Frame) -> Answer:
        if not inputs:
            if device == "cuda":
                analyzer.warmup(*frame.shape[:2])
            inputs.extend([jpeg(frame) if as_file else frame] * batch)
        found = analyzer.analyze_batch(inputs)
        return Answer(found[-1].heatmap, found[-1].score, _together([one.latency.stages for one in found]))

    return call


def _together(stages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Stages of a call: the graphs, which ran on all frames at once, and what is done for each frame, added up."""
    last = stages[-1].items()
    return {name: sum(one[name] for one in stages) if name in HOST_STAGES else ms for name, ms in last}


def onnxruntime_graph(file: str, *, threads: int) -> Call:
    """ONNX Runtime on one graph."""
    from sdk.backends import onnxruntime

    loaded = onnxruntime.runtime()
    options = loaded.SessionOptions()
    options.intra_op_num_threads = threads
    session = loaded.InferenceSession(Path(file), options, providers=["CPUExecutionProvider"])
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


def eager(
    checkpoint: str,
    *,
    threads: int,
    device: str = "cpu",
    precision: str = "f32",
    working_size: int = 0,
    batch: int = 1,
    compiles: bool = False,
) -> Call:
    """The torch model as PyTorch runs it; with ``compiles`` through torch.compile for one size, channels last.

    On a GPU low precision is that of the weights; on a CPU, where some operators lack it, autocast's.
    """
    import torch

    from training import checkpoints

    torch.set_num_threads(threads)
    low = {"f32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    detector = checkpoints.load(Path(checkpoint)).eval().to(device)
    if compiles or device == "cuda":
        detector = detector.to(memory_format=torch.channels_last)
    if low is not None and device == "cuda":
        detector = detector.to(low)
    run = torch.compile(detector, dynamic=False) if compiles else detector

    def call(frame: Frame) -> Answer:
        frames = torch.from_numpy(np.stack([frame] * batch)).to(device)
        with torch.inference_mode(), torch.autocast("cpu", low, enabled=low is not None and device == "cpu"):
            heatmap, score = run(frames, working_size)
        return Answer(heatmap.float().cpu().numpy()[-1], float(score[-1]))

    return call


def compiled(checkpoint: str, *, threads: int, precision: str = "bf16", **settings: Any) -> Call:  # noqa: ANN401
    """:func:`eager` with torch.compile."""
    return eager(checkpoint, threads=threads, precision=precision, compiles=True, **settings)


def _feeds(frame: Frame, names: set[str]) -> dict[str, NDArray]:
    return {name: value for name, value in {"frame": frame[None], **SETTINGS}.items() if name in names}
