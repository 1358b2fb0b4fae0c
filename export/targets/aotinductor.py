"""AOTInductor: the torch model compiled for one device by the torch that is there, and run by the same torch.

    python -m export aotinductor ARTIFACT --device cuda --precision fp16 --frame 1080x1920

Preprocessing is in the package, frames go up as they are, and the first convolution sees them in float32
(:func:`export.freeze.lowered`). Convolutions run channels last; sizes that are fixed let Inductor choose kernels for
them, a range of sizes is one package for all. With ``--plugins`` it calls our operators where the native library for
the device has them; without, it needs nothing of ours to run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from export import parity
from export.engines import gate
from export.engines.gate import Run
from export.engines.thaw import thaw
from export.freeze import lowered
from export.parity import Frame
from kernels import torch_nodes
from sdk.artifact import Artifact
from sdk.contract import ParityRow
from sdk.engines.aoti_backend import Kind
from sdk.engines.aoti_operators import Operators
from sdk.engines.aoti_run import Package
from sdk.engines.cache import Cache, Entry
from sdk.engines.profile import Profile
from sdk.errors import BadSetting, DeviceUnavailable, SdkError
from training.nn.detector import Detector

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class OnePiece(nn.Module):
    """frame -> score, heatmap, at a working size that is built in."""

    def __init__(self, detector: Detector, working_size: int) -> None:
        super().__init__()
        self.detector, self.working_size = detector, working_size

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``[N]`` and heatmap ``[N, H, W]``, float32, of frames uint8 ``[N, H, W, 3]``."""
        heatmap, score = self.detector(frame, self.working_size)
        return score, heatmap


def export(
    artifact: Artifact,
    *,
    device: str,
    precision: str,
    profile: Profile,
    photographs: Sequence[Frame],
    evaluation: Sequence[gate.Pair] = (),
    plugins: bool = False,
    options: Mapping[str, object] | None = None,
) -> tuple[Entry, list[ParityRow]]:
    """Compile ``artifact`` for ``profile``, pass the parity gate, keep the package in the cache; both are returned.

    One that is kept already is not compiled again, but judged. With ``plugins`` it calls our operators. ``options`` are
    Inductor's. Raises :class:`sdk.errors.ParityFailed`, and keeps nothing, where the package answers differently from
    the model; :class:`sdk.errors.BadSetting`, before it is compiled, where no frame of ``evaluation`` is one for it, or
    no operator of ours is for it to call in this precision on ``device``; :class:`sdk.errors.DeviceUnavailable` where
    the library that has them is not here, or this torch has no ``device``.
    """
    require(device)
    kind = Kind(plugins=plugins)
    profile = dataclasses.replace(profile, working_size=profile.working_size or 0)
    pairs = gate.fitting(evaluation, profile)
    if precision not in kind.precisions(device):
        raise without_operators(device, precision)
    operators = kind.operators(device)
    key = kind.key(artifact, precision, profile, device=device)
    cache, settings = Cache(), {"device": device, "precision": precision, "operators": operators}
    with cache.building(key):
        found = cache.find(key)
        kept = found if found and found.problem() is None else None
        frozen = thaw(artifact)
        rows = [gate.thawed_row(frozen, artifact, photographs)]
        parity.require(rows)
        start = time.monotonic()
        content = kept.read() if kept else compiled(frozen, profile=profile, options=options, **settings)
        seconds = round(time.monotonic() - start, 1)
        try:
            rows += _judged(content, frozen, photographs, pairs, profile=profile, **settings)
        except SdkError:
            if kept:
                cache.remove(kept)
            raise
        worst = max(max(row.max_abs_heatmap, row.max_abs_score) for row in rows)
        facts = {"model": artifact.name, "seconds": seconds, "device": device, "worst difference": worst}
        facts |= {"plugins": operators.file} if operators else {}
        return kept or cache.put(key, content, facts=facts), rows


def require(device: str) -> None:
    """Raise :class:`sdk.errors.DeviceUnavailable` where the torch that is here cannot compile for ``device``."""
    if device != "cuda" or torch.cuda.is_available():
        return
    lacks = "it finds no GPU" if torch.backends.cuda.is_built() else "it is built without CUDA"
    raise DeviceUnavailable(
        f"torch {torch.__version__} cannot compile for cuda: {lacks}",
        remedy="run this where the GPU is, with a torch for CUDA, or compile for this machine: --device cpu",
    )


def without_operators(device: str, precision: str) -> BadSetting:
    """The error where a package was to call operators of ours that are not there."""
    return BadSetting(f"operators of ours for {device} are not in {precision}", remedy="leave out --plugins")


def compiled(
    frozen: Detector,
    *,
    device: str,
    precision: str,
    profile: Profile,
    operators: Operators | None = None,
    options: Mapping[str, object] | None = None,
) -> bytes:
    """The package's bytes; it calls ``operators``, or :class:`sdk.errors.BadSetting` is raised where it would not."""
    module = OnePiece(lowered(frozen, DTYPES[precision]), profile.working_size or 0).to(device).eval()
    module = module.to(memory_format=torch.channels_last)
    # 2 is the least that torch does not take for a constant; one frame still runs.
    count = 1 if profile.batch == 1 else 2
    frame = torch.zeros(count, *profile.usual, 3, dtype=torch.uint8, device=device)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        with torch_nodes.called() if operators else contextlib.nullcontext():
            program = torch.export.export(module, (frame,), dynamic_shapes=_axes(profile), strict=False)
        if operators and not any(str(node.target).startswith("forensics.") for node in program.graph.nodes):
            raise BadSetting(f"no operator of the model is in {operators.file}", remedy="leave out --plugins")
        file = Path(folder) / "model.pt2"
        torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=dict(options or {}))
        return file.read_bytes()


def _judged(
    content: bytes,
    frozen: Detector,
    photographs: Sequence[Frame],
    pairs: Sequence[gate.Pair],
    *,
    device: str,
    precision: str,
    profile: Profile,
    operators: Operators | None,
) -> list[ParityRow]:
    """The gate's rows about a package; :class:`sdk.errors.ParityFailed` where it does not pass."""
    run, backend = _runner(content, device=device, operators=operators), Kind(plugins=bool(operators)).name
    rows = gate.rows(run, frozen, photographs, backend=backend, precision=precision, profile=profile)
    parity.require(rows)
    gate.require_auc(run, frozen, pairs, profile=profile)
    return rows


def _axes(profile: Profile) -> tuple[dict[int, object]] | None:
    """The frame's axes that vary."""
    axes: dict[int, object] = {}
    if profile.batch > 1:
        axes[0] = Dim("N", min=1, max=profile.batch)
    for axis, name in ((1, "H"), (2, "W")):
        least, most = profile.smallest[axis - 1], profile.largest[axis - 1]
        if least < most:
            axes[axis] = Dim(name, min=least, max=most)
    return (axes,) if axes else None


def _runner(content: bytes, *, device: str, operators: Operators | None) -> Run:
    """Frames through the package as the backend runs it."""
    engine = Package(content, device=device, operators=operators)

    def run(frame: Frame, _working_size: int) -> tuple[object, float]:
        found = engine.start({"frame": frame[None]}).result()
        return found["heatmap"][0], float(found["score"][0])

    return run
