"""Checkpoints: ours, and the published ones brought to our parameter names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from training.errors import UnknownName
from training.models import create
from training.nn.detector import Detector

State = Mapping[str, Tensor]

PSCCNET = (
    (r"^module\.", ""),
    (r"^(conv|bn|layer|transition|stage)(\d)", r"trunk.\1\2"),
    (r"^getmask(\d)\.getmask\.", r"localisation.scales.\1.mask."),
    (r"^getmask(\d)\.W_s\.", r"localisation.scales.\1.spatial."),
    (r"^getmask(\d)\.W_c\.", r"localisation.scales.\1.channel."),
    (r"^getmask(\d)\.", r"localisation.scales.\1."),
    (r"^incre_modules\.(\d)\.0\.", r"detection.widen.\1."),
    (r"^downsamp_modules\.", "detection.down."),
    (r"^final_layer\.", "detection.final."),
    (r"^classifier\.", "detection.classifier."),
)
"""Published names of PSCC-Net (HRNet.pth, NLCDetection.pth, DetectionHead.pth) to ours, applied in order."""

RENAMES = {"psccnet": PSCCNET}


def renamed(state: State, model: str) -> dict[str, Tensor]:
    """``state`` with the published parameter names of ``model`` replaced by ours; tensors are not touched."""
    result = {}
    for name, tensor in state.items():
        ours = name
        for pattern, replacement in RENAMES[model]:
            ours = re.sub(pattern, replacement, ours)
        result[ours] = tensor
    return result


def load_published(model: str, files: Iterable[Path]) -> Detector:
    """The published checkpoint of ``model``, spread over ``files``; strict: every parameter, and no other.

    PSCC-Net's is loaded with ``layout="released"``, which its weights were trained with.
    """
    if model not in RENAMES:
        raise UnknownName("model with a published checkpoint", model, RENAMES)
    detector = create(model, layout="released")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= renamed(torch.load(file, map_location="cpu", weights_only=True), model)
    detector.net.load_state_dict(state, strict=True)
    return detector


def load(file: Path) -> Detector:
    """A checkpoint of ours: ``{"model": name, "settings": {...}, "state": {...}}``, onto the CPU."""
    content = torch.load(file, map_location="cpu", weights_only=True)
    missing = sorted({"model", "settings", "state"} - set(content))
    if missing:
        raise ValueError(f"{file} lacks {missing}\n  -> give a checkpoint written by python -m training fit")
    detector = create(content["model"], **content["settings"])
    detector.load_state_dict(content["state"], strict=True)
    return detector


def save(file: Path, model: str, detector: Detector) -> None:
    """Write what :func:`load` reads, atomically."""
    partial = file.with_suffix(".partial")
    torch.save({"model": model, "settings": detector.settings, "state": detector.state_dict()}, partial)
    partial.replace(file)
