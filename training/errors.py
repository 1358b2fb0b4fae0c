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


class ForeignWeights(ValueError):
    """A file of weights that are not, or not all, those of the model that was asked for."""

    def __init__(self, file: object, model: str, why: str, *, remedy: str) -> None:
        super().__init__(f"{file} holds no weights of {model}: {why}\n  -> {remedy}")


class CodecMissing(ValueError):
    """A coder that synthesis draws is not installed."""

    def __init__(self, codec: str) -> None:
        super().__init__(
            f"samples that pass through {codec} need PyAV, which is not installed\n"
            "  -> pip install 'imdl-sdk[train]', or leave them out on purpose with video=False (--without-video)"
        )


class NoPhotographs(ValueError):
    """A folder holds nothing to make samples of."""

    def __init__(self, folder: object, why: str, *, remedy: str) -> None:
        super().__init__(f"no photograph in {folder}: {why}\n  -> {remedy}")


class Undecodable(ValueError):
    """A file that should be a photograph or a label map is not."""

    def __init__(self, file: object, why: str = "cannot be decoded") -> None:
        super().__init__(f"{file} {why}\n  -> replace or remove it, and its row of SOURCES.csv where there is one")
