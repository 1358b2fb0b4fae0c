"""How each model is trained, one module per model; the registry is this folder."""

from __future__ import annotations

from pkgutil import iter_modules


def names() -> list[str]:
    """Models and families of models that can be trained."""
    return sorted(module.name for module in iter_modules(__path__))
