"""Many inputs in one call: which are run together, and what becomes of one that cannot be analysed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from sdk.errors import AnalyzerClosed, BadSetting, SdkError, UnknownName

if TYPE_CHECKING:
    from sdk.analyzer import Input
    from sdk.results import Analysis

PIXELS = 1 << 22
"""Pixels that are analysed at once at most; beyond a few megapixels a batch costs memory and gains no speed."""
OF_THE_CALL = (AnalyzerClosed, BadSetting, UnknownName)
"""Errors that no other input would escape: they are raised whatever is to be done with errors."""

Together = Callable[[list["Input"]], list["Analysis"]]
"""Results for inputs of one shape."""


def run(
    sources: Iterable[object],
    read: Callable[[object], Input],
    together: Together,
    *,
    working_size: int,
    keeps_errors: bool,
) -> list[Analysis | SdkError]:
    """A result for each of ``sources``, in their order, or its error where errors are kept."""
    results: dict[int, Analysis | SdkError] = {}
    inputs: dict[int, Input] = {}
    for index, source in enumerate(sources):
        try:
            inputs[index] = read(source)
        except SdkError as error:
            if not keeps_errors or isinstance(error, OF_THE_CALL):
                raise
            results[index] = error
    order = list(inputs)
    frames = [inputs[index].frame for index in order]
    alone = {place for place, frame in enumerate(frames) if not isinstance(frame, np.ndarray)}
    for group in groups([frame.shape for frame in frames], working_size, alone=alone):
        members = [order[place] for place in group]
        found = _answers([inputs[index] for index in members], together, keeps_errors=keeps_errors)
        results.update(zip(members, found, strict=True))
    return [results[index] for index in range(len(results))]


def _answers(inputs: list[Input], together: Together, *, keeps_errors: bool) -> list[Analysis | SdkError]:
    """Results; where errors are kept and the inputs fail together, those of each alone."""
    try:
        return [*together(inputs)]
    except SdkError as error:
        if not keeps_errors or isinstance(error, OF_THE_CALL):
            raise
        if len(inputs) == 1:
            return [error]
        return [answer for item in inputs for answer in _answers([item], together, keeps_errors=True)]


def is_one(sources: object) -> bool:
    """Whether ``sources`` is one source: a path, a file, or an array of which every row would be taken for a frame."""
    return isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike) or getattr(sources, "ndim", 4) < 4


def groups(shapes: Sequence[tuple[int, ...]], working_size: int, *, alone: Set[int] = frozenset()) -> list[list[int]]:
    """Indices of frames that are analysed together: of one shape, and within ``PIXELS``; those in ``alone`` are not."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        if index not in alone:
            by_shape.setdefault(shape, []).append(index)
    found = [[index] for index in sorted(alone)]
    for (height, width, _), indices in by_shape.items():
        count = max(1, int(PIXELS / (height * width * scale(height, width, working_size) ** 2)))
        found += [indices[i : i + count] for i in range(0, len(indices), count)]
    return found


def scale(height: int, width: int, working_size: int) -> float:
    """What a frame is shrunk by for the analysis, at most 1."""
    return min(1.0, working_size / max(height, width)) if working_size else 1.0
