"""The registry is this folder: one module per model, each with ``Config`` and ``build``.

A module may also name ``VARIANTS``: models of their own that are settings of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from training.errors import UnknownName
from training.nn.detector import Detector
from training.settings import checked


def names() -> list[str]:
    """Every model that can be created, variants included."""
    found = [module.name for module in iter_modules(__path__)]
    return sorted(found + [variant for name in found for variant in _variants(name)])


def create(name: str, **settings: object) -> Detector:
    """Build the model ``name`` with fresh weights; ``settings`` are fields of its ``Config``."""
    return _find(name)[0].build(config(name, **settings))


def restored(name: str, settings: Mapping[str, object]) -> Detector:
    """Build the model ``name`` with the ``settings`` that a file tells.

    Those that it does not tell are younger than the file, and are what they were before there were such: the defaults
    of ``Config``, also of a variant that has others by now.
    """
    module, _ = _find(name)
    return module.build(module.Config(**checked(module.Config, settings, of=name)))


def config(name: str, **settings: object) -> object:
    """The ``Config`` of the model ``name``, with ``settings`` instead of its own."""
    module, preset = _find(name)
    return module.Config(**{**preset, **checked(module.Config, settings, of=name)})


def _find(name: str) -> tuple[ModuleType, dict[str, object]]:
    for base in (module.name for module in iter_modules(__path__)):
        if name == base:
            return import_module(f"{__name__}.{base}"), {}
        if name in _variants(base):
            return import_module(f"{__name__}.{base}"), _variants(base)[name]
    raise UnknownName("model", name, names())


def _variants(base: str) -> dict[str, dict[str, object]]:
    return getattr(import_module(f"{__name__}.{base}"), "VARIANTS", {})
