"""What is installed, what an artifact would be run with and why with nothing else, and what may go wrong."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kernels import cuda_library, library
from sdk import artifact, backends, decoding_process
from sdk.backends import onnxruntime
from sdk.engines import aoti_operators
from sdk.engines.cache import Cache
from sdk.errors import DeviceUnavailable, SdkError

PACKAGES = (
    "imdl-sdk",
    "numpy",
    "Pillow",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
    "torch",
    "pillow-heif",
    "av",
)

CV2 = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that all write the module ``cv2``; of two, the one installed last wins, or half of each."""

ORT_REPORTS_FROM = (1, 29)
"""The first ONNX Runtime that reports its use from Linux too."""


def report(model: str | Path | None = None) -> tuple[list[str], bool]:
    """Lines for a reader, and whether the artifact can be run here."""
    lines = [f"python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    lines += [f"{package} {installed(package) or 'not installed'}" for package in PACKAGES]
    lines += [*native(), *plugins(), decoding()]
    lines += [f"warning: {warning}" for warning in warnings()]
    try:
        loaded = artifact.read(artifact.find(model))
        asked = _members(loaded)
        if asked:
            lines.append(f"ensemble {loaded.name} ({loaded.contract.status}), SHA-256 {loaded.digest}")
        for each in asked or [loaded]:
            lines.append(f"artifact {each.name} ({each.contract.status}), SHA-256 {each.digest}")
            lines += _possibilities(each)
            choice = backends.choose(each)
            lines.append(f"chosen: {choice.backend} on {choice.device} in {choice.precision}")
    except SdkError as error:
        return [*lines, f"cannot analyse: {error}"], False
    return lines, True


def installed(package: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def native() -> list[str]:
    """Which operators have native code here, or why none has; every one runs without."""
    reason = library.reason_against()
    told = [f"native operators: none, {reason}"] if reason else []
    offered = [*library.offered().items(), *cuda_library.offered().items()]
    return told + [f"{op} is {where}" for op, where in offered]


def plugins() -> list[str]:
    """The library of plugins that is here for TensorRT, and every engine with plugins: of a library here, or another.

    To packages of AOTInductor plugins are operators that they call. Nothing where there is neither: engines do without.
    """
    file = library.plugins()
    here = artifact.digest(file) if file else ""
    told = [f"plugins for TensorRT: {file.name}, SHA-256 {here}"] if file else []
    entries = [entry for entry in Cache().entries() if entry.plugins]
    found = {here, *(_operators() if entries else [])}
    for entry in entries:
        short = entry.key.digest[:12]
        fits = "which is here" if entry.key.plugins in found else f"which is not here: imdl cache rm {short}"
        told.append(f"engine {short} of {entry.facts.get('model', '?')} has plugins of {entry.plugins}, {fits}")
    return told


def decoding() -> str:
    """What the process that decodes files has given up, or what not: a worker is started and asked."""
    try:
        reach = decoding_process.within_reach()
    except SdkError as error:
        return f"decoding: {error.problem}"
    return f"decoding: {reach or 'in a process that can open no file and no connection, and reach no other process'}"


def warnings() -> list[str]:
    """What is installed and should not be, or should be known, one sentence each."""
    found = []
    flavours = [name for name in CV2 if installed(name)]
    if len(flavours) > 1:
        found.append(f"{' and '.join(flavours)} overwrite each other's cv2; uninstall all, then install one")
    if installed("onnxruntime") and installed("onnxruntime-gpu"):
        found.append("onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, then install one")
    for name in ("onnxruntime", "onnxruntime-gpu"):
        if (has := installed(name)) and _reports(has):
            found.append(
                f"{name} {has} reports its sessions to Microsoft; imdl-sdk imports it with that switched off, other "
                f"programs do not: {onnxruntime.SILENCE}=1 in the environment does it"
            )
    if installed("openvino-telemetry"):
        found.append(
            "openvino brought openvino-telemetry, which reports every import of openvino to Google Analytics; imdl-sdk "
            "imports openvino without it, other programs do not: pip uninstall openvino-telemetry, nothing needs it"
        )
    return found


def _operators() -> list[str]:
    """SHA-256 of the libraries with operators that packages of AOTInductor call, for the CPU and for a GPU."""
    found = []
    for device in backends.DEVICES:
        with contextlib.suppress(DeviceUnavailable):
            found.append(aoti_operators.loaded(device).sha256)
    return found


def _reports(onnxruntime_version: str) -> bool:
    """Whether ONNX Runtime of this version tells of its use on Linux and the environment does not forbid it."""
    numbers = re.match(r"(\d+)\.(\d+)", onnxruntime_version)
    reached = numbers is not None and tuple(map(int, numbers.groups())) >= ORT_REPORTS_FROM
    return reached and os.environ.get(onnxruntime.SILENCE) != "1"


def _members(loaded: artifact.Artifact) -> list[artifact.Artifact]:
    """The models that an ensemble asks, each the one that it was made with; of one model none."""
    if not (loaded.path / artifact.MEMBERS).is_file():
        return []
    from sdk.ensemble import Ensemble  # one model needs none of it
    from sdk.recipe import Recipe

    with contextlib.closing(Ensemble(Recipe(model=loaded.path))) as ensemble:
        return [one.artifact for one in ensemble.analyzers.values()]


def _possibilities(loaded: artifact.Artifact) -> list[str]:
    """Every backend on every device, the preferred first: what it offers, or what is against it."""
    lines = []
    for device in backends.DEVICES:
        for name in backends.by_preference():
            backend = backends.get(name)
            reasons = backend.reasons_against(loaded, device=device)
            lines.append(f"{name} on {device}: " + ("; ".join(reasons) or ", ".join(backend.precisions(device))))
    return lines
