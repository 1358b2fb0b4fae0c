"""Parity: does an artifact answer as the torch model does? On real photographs, and for every runtime that is here."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import sdk
from sdk.backends import onnxruntime, openvino
from sdk.contract import ParityRow
from sdk.errors import ParityFailed
from training.nn.detector import Detector

SIZES = ((32, 32), (75, 97), (256, 256), (333, 500), (512, 512), (1080, 1920))
"""Height and width, px: the smallest there is, odd, the paper's, odd, the default, full HD."""
WHOLE_SIZES = SIZES[:3]
"""The whole graph repeats what the plan's graphs do: small sizes show that it is put together rightly."""
SHRUNK = ((333, 500), 128)
"""A frame, and the working size that it is brought down to."""
BUDGET = 1e-4
"""Largest absolute difference of a probability in f32."""
ROUNDING_SIZE = (256, 256)
ROUNDING_BUDGET = 2e-2
"""What storing the weights as halves may change: a fiftieth of the scale, as for fp16 arithmetic."""
BACKENDS = ("onnxruntime", "openvino")

Frame = NDArray[np.uint8]
Answer = tuple[NDArray[np.float32], float]


def frames(photographs: Sequence[Frame], sizes: Iterable[tuple[int, int]]) -> list[Frame]:
    """One photograph in turn for each of ``sizes``, resized; real content at every size."""
    return [
        cv2.resize(photographs[index % len(photographs)], (width, height), interpolation=cv2.INTER_AREA)
        for index, (height, width) in enumerate(sizes)
    ]


def measure(frozen: Detector, folder: Path, photographs: Sequence[Frame]) -> list[ParityRow]:
    """The table of an artifact in ``folder`` against the torch model of the same, rounded weights."""
    height_width, working_size = SHRUNK
    cases = [(frame, 0) for frame in frames(photographs, SIZES)] + [
        (frames(photographs, [height_width])[0], working_size)
    ]
    expected = [_torch(frozen, frame, working_size=size) for frame, size in cases]
    rows = []
    for backend in BACKENDS:
        native = sdk.load(folder, backend=backend, precision="f32", working_size=0)
        shrunk = sdk.load(folder, backend=backend, precision="f32", working_size=working_size)
        for (frame, size), truth in zip(cases, expected, strict=True):
            analysis = (shrunk if size else native).analyze(frame)
            rows.append(
                _row(f"plan, working size {size or 'native'}", backend, truth, (analysis.heatmap, analysis.score))
            )
    small = list(zip(cases, expected, strict=True))[: len(WHOLE_SIZES)]
    for case, run in _whole_graphs(folder).items():
        rows += [_row(case, case.partition(" in ")[2], truth, run(frame, size)) for (frame, size), truth in small]
    return rows


def rounding_row(detector: Detector, frozen: Detector, photographs: Sequence[Frame]) -> ParityRow:
    """What folding batch normalisation and rounding the weights to fp16 changes, at the paper's size."""
    batch = torch.from_numpy(np.stack(frames(photographs, [ROUNDING_SIZE] * len(photographs))))
    plain = copy.deepcopy(detector).eval()
    plain.calibration.copy_(frozen.calibration)
    with torch.inference_mode():
        heatmap, score = (float((a - b).abs().max()) for a, b in zip(plain(batch), frozen(batch), strict=True))
    return ParityRow(
        case="weights folded and rounded",
        backend="torch",
        precision="weights",
        size=ROUNDING_SIZE,
        max_abs_heatmap=heatmap,
        max_abs_score=score,
        budget=ROUNDING_BUDGET,
    )


def unchanged(before: Path, after: Path, photographs: Sequence[Frame], precisions: Iterable[str]) -> list[ParityRow]:
    """One artifact against another of the same weights, in every precision, at the size that it is made for."""
    rows = []
    for precision in precisions:
        if precision == "fp16":  # of no CPU runtime
            continue
        budget = BUDGET if precision == "f32" else ROUNDING_BUDGET
        settings = {"backend": "openvino", "precision": precision}
        with sdk.load(before, **settings) as former, sdk.load(after, **settings) as renewed:
            for frame in photographs:
                old, new = former.analyze(frame), renewed.analyze(frame)
                row = _row("as before", "openvino", (old.heatmap, old.score), (new.heatmap, new.score))
                rows.append(dataclasses.replace(row, precision=precision, budget=budget))
    return rows


def over_budget(rows: Iterable[ParityRow]) -> list[ParityRow]:
    """The rows that differ by more than their budget, or by something that is not a number."""
    return [row for row in rows if not (row.max_abs_heatmap <= row.budget and row.max_abs_score <= row.budget)]


def require(
    rows: Iterable[ParityRow],
    *,
    problem: str = "the exported graphs differ from the torch model",
    remedy: str = "mend the lowering, or raise precision; nothing was written",
) -> None:
    """Refuse a table with a row over its budget."""
    if over := over_budget(rows):
        table = "".join(f"\n  {text(row)}" for row in over)
        raise ParityFailed(
            f"{problem}:{table}",
            remedy=remedy,
        )


def text(row: ParityRow) -> str:
    """One line for people."""
    height, width = row.size
    return (
        f"{row.case:34} {row.backend:12} {row.precision:5} {width:5}x{height:<5} heatmap {row.max_abs_heatmap:.1e}"
        f"  score {row.max_abs_score:.1e}  budget {row.budget:.0e}"
    )


def _torch(frozen: Detector, frame: Frame, *, working_size: int) -> Answer:
    with torch.inference_mode():
        heatmap, score = frozen(torch.from_numpy(frame)[None], working_size)
    return heatmap[0].numpy(), float(score[0])


def _row(case: str, backend: str, truth: Answer, answer: Answer) -> ParityRow:
    return ParityRow(
        case=case,
        backend=backend,
        precision="f32",
        size=truth[0].shape,
        budget=BUDGET,
        max_abs_heatmap=float(np.abs(answer[0] - truth[0]).max()),
        max_abs_score=abs(answer[1] - truth[1]),
    )


def _whole_graphs(folder: Path) -> dict[str, object]:
    """Functions that run the whole graph in each runtime, by the name of the case."""
    sessions = {f"{file} in onnxruntime": _onnxruntime(folder / file) for file in ("model.onnx", "model.ops.onnx")}
    return {**sessions, "model.onnx in openvino": _openvino(folder / "model.onnx")}


def _feeds(frame: Frame, working_size: int) -> dict[str, NDArray]:
    return {
        "frame": frame[None],
        "working_size": np.array(working_size, np.int64),
        "min_score": np.array(0, np.float32),
    }


def _onnxruntime(file: Path) -> object:
    session = onnxruntime.runtime().InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(frame: Frame, working_size: int) -> Answer:
        score, heatmap = session.run(["score", "heatmap"], _feeds(frame, working_size))
        return heatmap[0], float(score[0])

    return run


def _openvino(file: Path) -> object:
    model = openvino.runtime().Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(frame: Frame, working_size: int) -> Answer:
        outputs = model(_feeds(frame, working_size))
        return outputs["heatmap"][0], float(outputs["score"][0])

    return run
