"""The registry is this folder: one module per kind of source."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from sdk.errors import BadSetting

if TYPE_CHECKING:
    from sdk.source import Captured, Settings, Source


def names() -> list[str]:
    """Every kind of source there is."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> Source:
    """The module of a kind of source."""
    return cast("Source", import_module(f"{__name__}.{name}"))


def kind(source: object) -> str:
    """Name of the first kind, in order of rank, that claims ``source``."""
    for name in sorted(names(), key=lambda name: get(name).RANK):
        if get(name).claims(source):
            return name
    if (shape := getattr(source, "shape", None)) is not None:
        raise BadSetting(
            f"a stream cannot be made of one array, {getattr(source, 'dtype', '')} of shape {list(shape)}",
            remedy="if it is one frame, call sdk.analyze; if it is one of many, give a list of them",
        )
    raise BadSetting(
        f"a stream cannot be made of {type(source).__name__} {source!r:.80}",
        remedy="give the path of a video or folder, an rtsp:// address, a camera's number, a video's bytes, "
        "or an iterable of frames",
    )


def read(source: object, settings: Settings) -> Generator[Captured]:
    """The frames of ``source`` in order."""
    return get(kind(source)).read(source, settings)
