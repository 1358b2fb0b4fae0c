"""Settings that a user gives by name, checked against the dataclass whose fields they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from training.errors import UnknownName

Kind = TypeVar("Kind")


def checked(kind: type, given: Mapping[str, object], *, of: str) -> dict[str, object]:
    """``given``, whose names are fields of the dataclass ``kind`` and whose values are of their defaults' types.

    Raises:
        ValueError: Another name; a value of another type (a whole number may stand for a fraction).
    """
    defaults = {field.name: field.default for field in fields(kind)}
    for name, value in given.items():
        if name not in defaults:
            raise UnknownName(f"setting of {of}", name, defaults)
        usual = defaults[name]
        kinds = (int, float) if isinstance(usual, float) else type(usual)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(usual, bool):
            raise ValueError(f"{name} of {of} is {value!r}\n  -> give a value like {usual!r}")
    return dict(given)


def taken(kind: type[Kind], options: dict[str, object], *, of: str) -> Kind:
    """The ``kind`` of those ``options`` that are its fields; they are removed from ``options``."""
    names = {field.name for field in fields(kind)} & options.keys()
    return kind(**checked(kind, {name: options.pop(name) for name in names}, of=of))
