"""The registry is this folder: one module per runtime. Choosing one and explaining the choice are the same list."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from sdk.errors import BackendUnavailable, DeviceUnavailable, PrecisionUnavailable, UnknownName

if TYPE_CHECKING:
    from sdk.artifact import Artifact
    from sdk.backend import Backend

DEVICES = ("cuda", "cpu")
"""Devices in the order in which ``auto`` tries them."""

PRECISIONS = ("f32", "bf16")


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What an artifact is run with, and why with nothing else."""

    backend: str
    device: str
    precision: str
    against: Mapping[str, list[str]]
    """What was preferred and could not be had, as "backend on device", with the reasons."""


def names() -> list[str]:
    """Every backend there is, installed or not."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> Backend:
    """The backend module ``name``; its runtime is imported only when the backend is asked something."""
    if name not in names():
        raise UnknownName("backend", name, names())
    return cast("Backend", import_module(f"{__name__}.{name}"))


def by_preference() -> list[str]:
    """Names of the backends, the preferred one first."""
    return sorted(names(), key=lambda name: get(name).RANK)


def choose(artifact: Artifact, *, device: str = "auto", backend: str | None = None, precision: str = "auto") -> Choice:
    """The first device and backend, in order of preference, with no reason against ``artifact``."""
    if device not in ("auto", *DEVICES):
        raise UnknownName("device", device, ("auto", *DEVICES))
    _check_precision(artifact, precision)
    against: dict[str, list[str]] = {}
    runnable = False
    for place in DEVICES if device == "auto" else (device,):
        for name in [backend] if backend else by_preference():
            reasons = get(name).reasons_against(artifact, device=place)
            runnable |= not reasons
            usable = () if reasons else _usable(artifact, name, place, precision)
            if usable:
                return Choice(name, place, usable[-1], against)
            against[f"{name} on {place}"] = reasons or [f"does not offer {precision} on this machine"]
    why = "".join(f"\n  {who}: {reason}" for who, reasons in against.items() for reason in reasons)
    if runnable:
        raise PrecisionUnavailable(f"{precision} is not offered here:{why}", remedy='use precision="auto" or "f32"')
    if device == "cuda":
        raise DeviceUnavailable(f"{artifact.name} cannot run on cuda:{why}", remedy='use device="auto" or "cpu"')
    raise BackendUnavailable(artifact.name, against)


def _usable(artifact: Artifact, backend: str, device: str, precision: str) -> list[str]:
    """Precisions that the machine offers, the model allows and the caller wants; the fastest last."""
    offered = get(backend).precisions(device)
    wanted = artifact.contract.precisions if precision == "auto" else (precision,)
    return [name for name in offered if name in wanted]


def _check_precision(artifact: Artifact, precision: str) -> None:
    if precision not in ("auto", *PRECISIONS):
        raise UnknownName("precision", precision, ("auto", *PRECISIONS))
    allowed = artifact.contract.precisions
    if precision != "auto" and precision not in allowed:
        raise PrecisionUnavailable(
            f"{artifact.name} was not shown to keep its accuracy in {precision}",
            remedy=f'use precision="auto" or one of: {", ".join(allowed)}',
        )
