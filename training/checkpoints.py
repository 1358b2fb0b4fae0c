"""Checkpoints: ours, and the published ones brought to our parameter names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
        state |= renamed(_read(file), model)
    detector.net.load_state_dict(state, strict=True)
    return detector


def _read(file: Path) -> dict[str, Any]:
    """What ``torch.save`` wrote, tensors and plain containers only."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises whatever foreign bytes lead it to
        raise ValueError(f"{file} is no checkpoint: {error}\n  -> give a file written by torch.save") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not a dictionary\n  -> give a state dict")
    return content


def load(file: Path, *, model: str | None = None) -> Detector:
    """A checkpoint of ours, onto the CPU: ``{"model": name, "settings": {...}, "state": {...}}``.

    ``model``, where it is given, is the name that the checkpoint has to bear: psccnet-lite is not psccnet.
    """
    content = _read(file)
    missing = sorted({"model", "settings", "state"} - set(content))
    if missing:
        raise ValueError(f"{file} lacks {missing}\n  -> give a checkpoint written by python -m training fit")
    if model not in {None, content["model"]}:
        raise ValueError(f"{file} holds weights of {content['model']}, not of {model}\n  -> name {content['model']}")
    detector = create(content["model"], **content["settings"])
    detector.load_state_dict(content["state"], strict=True)
    return detector


def save(file: Path, model: str, detector: Detector) -> None:
    """Write what :func:`load` reads, atomically."""
    partial = file.with_suffix(".partial")
    torch.save({"model": model, "settings": detector.settings, "state": detector.state_dict()}, partial)
    partial.replace(file)
