"""``sdk.analyze``: analyse without loading first. One Analyzer by model and device is kept for the next call."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal, overload

from sdk.agreement import ALL, Agreement, Analyzers, load_all
from sdk.analyzer import Analyzer, load
from sdk.frames import Color
from sdk.progress import Report
from sdk.results import Analysis

_analyzers: dict[tuple[str, str], Analyzer | Analyzers] = {}
_lock = threading.Lock()


@overload
def analyze(  # type: ignore[overload-overlap]  # the one name that is no model's means them all
    frame: object,
    *,
    model: Literal["all"],
    device: str = "auto",
    color: Color = "rgb",
    decoder: str | None = None,
    min_score: float = 0.0,
    progress: Report | None = None,
) -> Agreement: ...


@overload
def analyze(
    frame: object,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    color: Color = "rgb",
    decoder: str | None = None,
    min_score: float = 0.0,
    progress: Report | None = None,
) -> Analysis: ...


def analyze(
    frame: object,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    color: Color = "rgb",
    decoder: str | None = None,
    min_score: float = 0.0,
    progress: Report | None = None,
) -> Analysis | Agreement:
    """Analyse one path, file's bytes, uint8 array or PIL image, as :meth:`sdk.Analyzer.analyze` takes it.

    ``model="all"`` asks every shipped model and returns what each found and how far they agree. Models are loaded at
    the first call and kept until :func:`close`. ``progress`` hears of every tile. :func:`sdk.load` and
    :func:`sdk.load_all` offer more choices.
    """
    key = (str(model), device)
    with _lock:
        if key not in _analyzers:
            _analyzers[key] = load_all(device=device) if model == ALL else load(model, device=device)
        analyzer = _analyzers[key]
    return analyzer.analyze(frame, color=color, decoder=decoder, min_score=min_score, progress=progress)


def close() -> None:
    """Release every model that :func:`analyze` keeps; a later call loads again."""
    with _lock:
        analyzers = list(_analyzers.values())
        _analyzers.clear()
    for analyzer in analyzers:
        analyzer.close()


def _after_fork() -> None:
    """A thread of the parent may have held the lock; what it guards is of no use in the child."""
    global _lock, _inherited  # noqa: PLW0603  the one place where the child parts from the parent
    _lock = threading.Lock()
    _inherited = dict(_analyzers)
    _analyzers.clear()


_inherited: dict[tuple[str, str], Analyzer | Analyzers] = {}
"""The parent's analyzers in a child: kept, because a runtime that is torn down without its threads may hang."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
