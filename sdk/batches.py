"""Many inputs in one call: which are run together, and what becomes of one that cannot be analysed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from sdk.errors import AnalyzerClosed, BadSetting, DeviceUnavailable, LimitExceeded, SdkError, UnknownName

if TYPE_CHECKING:
    from sdk.inputs import Input
    from sdk.results import Analysis

PIXELS = 1 << 22
"""Pixels that are analysed at once at most; beyond a few megapixels a batch costs memory and gains no speed."""
OF_THE_CALL = (AnalyzerClosed, BadSetting, UnknownName)
"""Errors that no other input would escape: they are raised whatever is to be done with errors."""

TOO_MANY = (DeviceUnavailable, LimitExceeded)
"""Errors that fewer frames at once may escape: an engine takes so many, a GPU's memory holds so many."""
TRIES = 2
"""Groups of a size that are timed; the fastest counts."""
GAIN = 0.95
"""Share of a frame's time in the last size that it takes in one twice as large at most, or that one is not kept."""

Size: TypeAlias = int | Literal["auto"] | None
"""Frames at once: a number, as many as timing finds good, or as many as are within ``PIXELS``."""
Together = Callable[[list["Input"]], list["Analysis"]]
"""Results for inputs of one shape."""


def run(
    sources: Iterable[object],
    read: Callable[[object], Input],
    together: Together,
    *,
    working_size: int,
    keeps_errors: bool,
    pace: Pace | None = None,
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
    pace = pace or Pace()
    for group in groups([frame.shape for frame in frames], working_size, alone=alone, pace=pace):
        members = [order[place] for place in group]
        found = _answers([inputs[index] for index in members], together, keeps_errors=keeps_errors)
        results.update(zip(members, found, strict=True))
    return [results[index] for index in range(len(results))]


def _answers(inputs: list[Input], together: Together, *, keeps_errors: bool) -> list[Analysis | SdkError]:
    """Results; of inputs that are too many at once those of each half; where errors are kept, those of each alone."""
    try:
        return [*together(inputs)]
    except SdkError as error:
        halves = isinstance(error, TOO_MANY) and len(inputs) > 1
        if not halves and (not keeps_errors or isinstance(error, OF_THE_CALL)):
            raise
        if len(inputs) == 1:
            return [error]
        size = len(inputs) // 2 if halves else 1
        parts = [inputs[at : at + size] for at in range(0, len(inputs), size)]
        return [answer for part in parts for answer in _answers(part, together, keeps_errors=keeps_errors)]


def is_one(sources: object) -> bool:
    """Whether ``sources`` is one source: a path, a file, or an array of which every row would be taken for a frame."""
    return isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike) or getattr(sources, "ndim", 4) < 4


def groups(
    shapes: Sequence[tuple[int, ...]], working_size: int, *, alone: Set[int] = frozenset(), pace: Pace | None = None
) -> Iterator[list[int]]:
    """Indices of frames that are analysed together: of one shape and within ``PIXELS``; those in ``alone`` are not.

    ``pace`` is told how long whoever asks is at a group before he asks for the next.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        if index not in alone:
            by_shape.setdefault(shape, []).append(index)
    yield from ([index] for index in sorted(alone))
    for (height, width, _), indices in by_shape.items():
        most = max(1, int(PIXELS / (height * width * scale(height, width, working_size) ** 2)))
        yield from (pace or Pace()).cut(indices, most)


class Pace:
    """How many frames are analysed at once; found by timing if it is to be."""

    def __init__(
        self, batch: Size = None, latency_ms: float | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        whole = isinstance(batch, int) and not isinstance(batch, bool) and batch > 0
        if not (batch is None or batch == "auto" or whole):
            raise BadSetting(f"batch is {batch!r}", remedy='give a number of frames from 1 on, "auto" or None')
        if latency_ms is not None and (batch != "auto" or not latency_ms > 0):
            raise BadSetting(f"latency_ms is {latency_ms} with batch={batch!r}", remedy='give it above 0, and "auto"')
        self._batch, self._latency_ms, self._clock = batch, latency_ms, clock

    def cut(self, indices: Sequence[int], most: int) -> Iterator[list[int]]:
        """``indices`` of frames of one shape in groups of up to ``most``."""
        size, at = (1 if self._batch == "auto" else min(most, self._batch or most)), 0
        best, took = float("inf"), list[float]()
        grows = self._batch == "auto"
        while at < len(indices):
            group = list(indices[at : at + size])
            start = self._clock()
            yield group
            took.append(1e3 * (self._clock() - start))
            at += len(group)
            if not grows or len(took) < TRIES:  # the first one of a kind wakes and compiles
                continue
            each, total, took = min(took) / size, min(took), []
            if each >= GAIN * best:
                size, grows = max(1, size // 2), False
            elif 2 * size > most or (self._latency_ms is not None and 2 * total > self._latency_ms):
                grows = False
            else:
                best, size = each, 2 * size


def scale(height: int, width: int, working_size: int) -> float:
    """What a frame is shrunk by for the analysis, at most 1."""
    return min(1.0, working_size / max(height, width)) if working_size else 1.0
