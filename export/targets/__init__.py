"""The registry is this folder: one module per output format, each with ``export``."""

from __future__ import annotations

from pkgutil import iter_modules


def names() -> list[str]:
    """Every format that can be written."""
    return sorted(module.name for module in iter_modules(__path__))
