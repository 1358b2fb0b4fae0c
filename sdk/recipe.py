"""How an Analyzer is made: its settings, checked before anything is loaded."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, SupportsIndex, TypeGuard

from sdk.errors import BadSetting
from sdk.limits import Limits

if TYPE_CHECKING:
    from sdk.decoding import Mode

MOST_THREADS = 512
"""Threads above which no machine's runtime gains and many run out of memory."""
SMALLEST = 32
"""Working size below which the models' coarsest maps have no pixel, px."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to make an Analyzer: all that travels when one is pickled.

    Raises:
        BadSetting: a value of a wrong type or out of its range; whether names exist is seen when they are looked up.
    """

    model: str | Path | None
    """Name of a shipped artifact, None for the default one, or the path of an artifact."""
    device: str = "auto"
    backend: str | None = None
    precision: str = "auto"
    working_size: int | None = None
    """Long side at which frames are analysed, px; 0 is their own size, None the artifact's default."""
    threads: int | None = None
    min_score: float = 0.0
    decode: Mode = "worker"
    limits: Limits | None = None
    members: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Of an ensemble, by the member's name, what is not as above: ``device``, ``backend``, ``precision``."""

    def __post_init__(self) -> None:
        size, threads = self.working_size, self.threads
        _check("model", self.model, str | Path | None, "a name or the path of an artifact")
        for name in ("device", "precision", "decode"):
            _check(name, getattr(self, name), str, "a name")
        _check("backend", self.backend, str | None, "a name, or None for the fastest")
        _check("limits", self.limits, Limits | None, "sdk.Limits(...), or None")
        wanted = f"px from {SMALLEST} up, 0 for the frame's own size, or None for the model's default"
        _check("working_size", size, int | None, wanted, is_right=not _whole(size) or size == 0 or size >= SMALLEST)
        some = f"1 to {MOST_THREADS}, or None for as many as the runtime finds fit"
        _check("threads", threads, int | None, some, is_right=not _whole(threads) or 1 <= threads <= MOST_THREADS)
        object.__setattr__(self, "min_score", as_score("min_score", self.min_score))


def as_score(name: str, value: object) -> float:
    """A number of any kind, NumPy's too, as a float in [0, 1].

    Raises:
        BadSetting: what no score can be compared with.
    """
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        number = math.inf
    _check(name, value, Real, "a number in [0, 1]", is_right=0 <= number <= 1)
    return number


def as_pixels(name: str, value: SupportsIndex) -> int:
    """A number of any whole kind, NumPy's too, as an int.

    Raises:
        BadSetting: no side of a frame, px.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    _check(name, value, object, "a whole number of pixels, 1 or more", is_right=number > 0)
    return number


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int)


def _check(name: str, value: object, kind: UnionType | type, wanted: str, *, is_right: bool = True) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not is_right:
        raise BadSetting(f"{name} is {value!r}", remedy=f"give {wanted}")
