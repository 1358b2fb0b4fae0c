"""Evidence about fp16: activations really rounded, and how close each layer comes to the largest half float.

A CPU runtime given an fp16 graph computes in float32 and proves nothing; half tensors in torch are rounded after every
operator. The first convolution stays in float32, as in engines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.freeze import lowered
from export.parity import frames
from sdk.contract import ParityRow
from training.nn.detector import Detector

LARGEST_HALF = 65504.0
BUDGET = 2e-2
"""Largest absolute difference of a probability that fp16 may cause: a fiftieth of the scale."""
SIZE = (256, 256)


def activation_peaks(detector: Detector, frame: Tensor) -> dict[str, float]:
    """Largest absolute value that goes into or comes out of every convolution and linear layer, float32, by name.

    What goes in shows the sums between layers, which are no modules; infinite where a value is not a number.
    """
    peaks: dict[str, float] = {}
    hooks = []
    for name, module in detector.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(_recorder(peaks, name)))
    try:
        with torch.inference_mode():
            detector(frame)
    finally:
        for hook in hooks:
            hook.remove()
    return peaks


def _recorder(peaks: dict[str, float], name: str) -> object:
    def record(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        levels = [float(value.abs().nan_to_num(nan=math.inf).max()) for value in (*inputs, output)]
        peaks[name] = max(peaks.get(name, 0.0), *levels)

    return record


def half_rows(frozen: Detector, photographs: Sequence[NDArray[np.uint8]]) -> tuple[list[ParityRow], dict[str, float]]:
    """One row per photograph at 256x256, fp16 against float32, and one for the largest activation; all peaks by layer.

    The last row's ``max_abs_heatmap`` is that activation over fp16's largest number: 1 and more is an overflow.
    """
    half = lowered(frozen, torch.float16)
    rows, peaks = [], {}
    for index, frame in enumerate(frames(photographs, [SIZE] * len(photographs))):
        batch = torch.from_numpy(frame)[None]
        peaks = {name: max(peak, peaks.get(name, 0.0)) for name, peak in activation_peaks(frozen, batch).items()}
        with torch.inference_mode():
            pairs = list(zip(frozen(batch), half(batch), strict=True))
        rows.append(_row(f"half, photograph {index}", *(_difference(a, b) for a, b in pairs), budget=BUDGET))
    layer = max(peaks, key=peaks.__getitem__)
    rows.append(_row(f"peak {layer}", peaks[layer] / LARGEST_HALF, 0.0, budget=1.0))
    return rows, {name: float(f"{peak:.3g}") for name, peak in peaks.items()}


def _difference(exact: Tensor, rounded: Tensor) -> float:
    """Largest absolute difference; 1, the whole scale, where the rounded side is not a number."""
    return float((exact - rounded).abs().nan_to_num(nan=1.0).max())


def _row(case: str, heatmap: float, score: float, *, budget: float) -> ParityRow:
    return ParityRow(
        case=case,
        backend="torch",
        precision="fp16",
        size=SIZE,
        max_abs_heatmap=heatmap,
        max_abs_score=score,
        budget=budget,
    )
