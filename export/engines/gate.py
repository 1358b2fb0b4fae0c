"""The gate that every engine passes: it answers as the torch model does, on real photographs, or it is not kept."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import sdk
from export import parity
from export.parity import Frame
from export.precision import BUDGET as ROUNDED_BUDGET
from sdk.artifact import Artifact
from sdk.contract import ParityRow
from sdk.engines.profile import Profile
from sdk.errors import BadSetting, ParityFailed
from training import metrics
from training.evaluation import items
from training.nn.detector import Detector

LARGEST_TRIED = (1080, 1920)
"""Sides beyond which nobody waits for the torch model on a CPU, px; unless the engine takes no smaller frame."""
LARGEST_FALL = 0.002
"""Of the mean pixel AUC on an evaluation folder, against float32."""
Run = Callable[[Frame, int], tuple[NDArray[np.float32], float]]
"""From a frame and a working size to heatmap and score."""
Pair = tuple[Frame, NDArray[np.bool_]]
"""A frame and its mask, [H, W]."""


def sizes(profile: Profile) -> list[tuple[int, int]]:
    """Frames to try an engine on: the smallest, the usual and the largest, within what a test can wait for."""
    height, width = (
        max(least, min(most, enough))
        for least, most, enough in zip(profile.smallest, profile.largest, LARGEST_TRIED, strict=True)
    )
    return list(dict.fromkeys((profile.smallest, profile.usual, (height, width))))


def budget(precision: str) -> float:
    """Largest absolute difference of a probability."""
    return parity.BUDGET if precision == "f32" else ROUNDED_BUDGET


def rows(
    run: Run, frozen: Detector, photographs: Sequence[Frame], *, backend: str, precision: str, profile: Profile
) -> list[ParityRow]:
    """One row per size: ``run`` against ``frozen``, float32 on the CPU."""
    size = profile.working_size or 0
    found = []
    for frame in parity.frames(photographs, sizes(profile)):
        with torch.inference_mode():
            heatmap, score = frozen(torch.from_numpy(frame)[None], size)
        answer = run(frame, size)
        found.append(
            ParityRow(
                case=f"engine, working size {size or 'native'}",
                backend=backend,
                precision=precision,
                size=frame.shape[:2],
                max_abs_heatmap=_difference(answer[0], heatmap[0].numpy()),
                max_abs_score=_difference(np.float32(answer[1]), np.float32(score[0])),
                budget=budget(precision),
            )
        )
    return found


def thawed_row(frozen: Detector, artifact: Artifact, photographs: Sequence[Frame]) -> ParityRow:
    """Whether the model that was made of an artifact's weights is the artifact's: by ONNX Runtime, small."""
    (frame,) = parity.frames(photographs, [(96, 128)])
    with torch.inference_mode():
        heatmap, score = frozen(torch.from_numpy(frame)[None])
    with sdk.load(artifact.path, backend="onnxruntime", device="cpu", precision="f32", working_size=0) as analyzer:
        analysis = analyzer.analyze(frame)
    assert analysis.heatmap is not None  # min_score is 0
    return ParityRow(
        case="weights of the artifact",
        backend="torch",
        precision="f32",
        size=frame.shape[:2],
        max_abs_heatmap=_difference(analysis.heatmap, heatmap[0].numpy()),
        max_abs_score=abs(analysis.score - float(score[0])),
        budget=parity.BUDGET,
    )


def auc_fall(run: Run, exact: Run, pairs: Iterable[Pair], *, working_size: int) -> float:
    """By how much ``run`` falls behind ``exact`` in mean pixel AUC, over :func:`fitting` frames."""
    return statistics.fmean(
        metrics.auc(exact(frame, working_size)[0], mask) - metrics.auc(run(frame, working_size)[0], mask)
        for frame, mask in pairs
    )


def fitting(pairs: Sequence[Pair], profile: Profile) -> list[Pair]:
    """Of ``pairs`` those that judge an engine for ``profile``: it takes the frame, the mask is white in part.

    Raises :class:`sdk.errors.BadSetting` where some are given and none is left.
    """
    size = profile.working_size or 0
    found = [(frame, mask) for frame, mask in pairs if _tells(mask) and profile.admits((1, *frame.shape), size)]
    if pairs and not found:
        raise BadSetting(
            f"no frame of the evaluation folder, masked in part, is one for the engine: {profile.text()}",
            remedy="give a folder with such frames and masks, or build an engine for all sizes",
        )
    return found


def require_auc(run: Run, frozen: Detector, pairs: Sequence[Pair], *, profile: Profile) -> None:
    """Refuse an engine whose pixel AUC on :func:`fitting` pairs falls behind that of ``frozen``.

    By more than ``LARGEST_FALL``: :class:`sdk.errors.ParityFailed`. Without pairs nothing is asked.
    """
    if not pairs:
        return
    size = profile.working_size or 0

    def exact(frame: Frame, size: int) -> tuple[NDArray[np.float32], float]:
        with torch.inference_mode():
            heatmap, score = frozen(torch.from_numpy(frame)[None], size)
        return heatmap[0].numpy(), float(score[0])

    fall = auc_fall(run, exact, pairs, working_size=size)
    if fall > LARGEST_FALL:
        raise ParityFailed(
            f"the engine's pixel AUC on the evaluation folder is {fall:.4f} below the model's",
            remedy="raise precision; nothing was kept",
        )


def evaluation(folder: Path | None) -> list[Pair]:
    """The frames of an evaluation folder (:mod:`training.evaluation.items`) that tell an AUC; none without a folder.

    Raises :class:`sdk.errors.BadSetting` where it holds no such frame.
    """
    if folder is None:
        return []
    loaded = [item.load() for item in items.read(folder)]
    found = [(frame, truth > 0) for frame, truth in loaded if truth is not None and _tells(truth)]
    if not found:
        raise BadSetting(f"{folder} has no mask that is white in part, to judge by", remedy=items.LAYOUT)
    return found


def _tells(mask: NDArray[np.bool_]) -> bool:
    """Whether an AUC can be told: some pixels are manipulated, others are not."""
    return bool(mask.any() and not mask.all())


def _difference(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Largest absolute difference; 1, the whole scale, where a value is not a number."""
    return float(np.nan_to_num(np.abs(found - truth), nan=1.0).max())
