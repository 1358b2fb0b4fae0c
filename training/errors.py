"""Errors of the training side: what happened, then what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownName(ValueError):
    """A name that is not in a registry or among the settings of a model."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        close = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(choices)}"
        super().__init__(f"no {kind} named {name!r}\n  -> {hint}")
