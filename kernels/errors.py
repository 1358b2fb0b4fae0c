"""Errors of this package that are neither a wrong type nor a wrong value."""

from __future__ import annotations


class CannotBuild(Exception):
    """The native library cannot be built here: what happened, then what to do about it."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
