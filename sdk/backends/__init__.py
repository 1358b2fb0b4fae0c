"""The registry is this folder: one module per runtime. Choosing one and explaining the choice are the same list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from sdk.errors import BackendUnavailable, DeviceUnavailable, PrecisionUnavailable, UnknownName

if TYPE_CHECKING:
    from sdk.artifact import Artifact
    from sdk.backend import Backend
    from sdk.contract import Contract

DEVICES = ("cuda", "cpu")
"""Devices in the order in which ``auto`` tries them."""

PRECISIONS = ("f32", "bf16", "fp16")
"""Precisions there are; which of them a model is allowed stands in its contract, which are offered a backend knows."""


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


def terms(choice: Choice, artifact: Artifact) -> Contract:
    """The artifact's contract as the chosen backend executes it: with a plan of its own, if it has one."""
    own: Callable[..., Contract] | None = getattr(get(choice.backend), "terms", None)
    return own(artifact.contract, device=choice.device) if own else artifact.contract


def _has_engine(name: str, artifact: Artifact, device: str) -> bool:
    """Whether the backend needs no engine, or there is one: only who asks for it by name is offered to build one."""
    built = getattr(get(name), "built", None)
    return built is None or bool(built(artifact, device=device))


def _usable(name: str, artifact: Artifact, device: str) -> list[str]:
    """Precisions that the backend offers and the model is allowed, the fastest last; those of its engines, if any."""
    backend = get(name)
    allowed = [one for one in backend.precisions(device) if one in artifact.contract.precisions]
    built = getattr(backend, "built", None)
    there = built(artifact, device=device) if built else allowed
    return [one for one in allowed if one in there] or allowed


def choose(artifact: Artifact, *, device: str = "auto", backend: str | None = None, precision: str = "auto") -> Choice:
    """The first device and backend, in order of preference, with no reason against ``artifact``."""
    if device not in ("auto", *DEVICES):
        raise UnknownName("device", device, ("auto", *DEVICES))
    if precision not in ("auto", *PRECISIONS):
        raise UnknownName("precision", precision, ("auto", *PRECISIONS))
    allowed = artifact.contract.precisions
    against: dict[str, list[str]] = {}
    runnable: set[str] = set()
    for place in DEVICES if device == "auto" else (device,):
        for name in [backend] if backend else by_preference():
            reasons = get(name).reasons_against(artifact, device=place)
            if not reasons and not backend and not _has_engine(name, artifact, place):
                how = f"python -m export {getattr(get(name), 'VERB', name)} {artifact.in_shell}"
                reasons = [f"no engine is built for this machine: {how}"]
            usable = [] if reasons else _usable(name, artifact, place)
            runnable.update(usable)
            wanted = [one for one in usable if precision in ("auto", one)]
            if wanted:
                return Choice(name, place, wanted[-1], against)
            lacking = " or ".join(allowed) if precision == "auto" else precision
            against[f"{name} on {place}"] = reasons or [f"does not offer {lacking} on this machine"]
    why = "".join(f"\n  {who}: {reason}" for who, reasons in against.items() for reason in reasons)
    if runnable:
        unshown = f"{artifact.name} was not shown to keep its accuracy in {precision}"
        raise PrecisionUnavailable(
            f"{precision} is not offered here:{why}" if precision in allowed else unshown,
            remedy=f'use precision="auto" or one of: {", ".join(sorted(runnable))}',
        )
    another = "name another backend or device, or neither; what each lacks here says: imdl doctor" if backend else ""
    if device == "cuda":
        remedy = another or 'use device="auto" or device="cpu"'
        raise DeviceUnavailable(f"{artifact.name} cannot run on cuda:{why}", remedy=remedy)
    raise BackendUnavailable(artifact.name, against, remedy=another or "pip install 'imdl-sdk[cpu]', then: imdl doctor")
