"""Checkpoints: ours, and the published ones brought to our parameter names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import keras_weights
from training.errors import ForeignWeights, UnknownName
from training.models import create, restored
from training.nn.detector import Detector

log = logging.getLogger("imdl.training")
State = Mapping[str, Tensor]
Published = tuple[dict[str, object], dict[str, Tensor]]

FIRST_STEP = "-imc"
"""Follows the name of the model whose extractor was trained, in the first step of ManTra-Net's training."""

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

MANTRANET_CONVS = {
    **{f"b{block}c{conv}": f"extractor.body.{index}" for index, (block, conv) in enumerate(
        [(1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3), (5, 1), (5, 2)]
    )},
    "transform": "extractor.last",
    "pred": "head",
}  # fmt: skip
MANTRANET = {
    ("b1c1", "regular_kernel"): "extractor.first.free",
    ("b1c1", "bayar_kernel"): "extractor.first.bayar",
    **{(layer, "kernel"): f"{ours}.weight" for layer, ours in MANTRANET_CONVS.items()},
    **{(layer, "bias"): f"{ours}.bias" for layer, ours in MANTRANET_CONVS.items()},
    ("outlierTrans", "kernel"): "adapt.weight",
    ("bnorm", "moving_mean"): "zpool.norm.running_mean",
    ("bnorm", "moving_variance"): "zpool.norm.running_var",
    ("glbStd", "min_std"): "zpool.min_std",
    ("cLSTM", "kernel"): "lstm.input.weight",
    ("cLSTM", "recurrent_kernel"): "lstm.recurrent.weight",
    ("cLSTM", "bias"): "lstm.input.bias",
}
"""Layers and names in ManTra-Net's Keras files to ours."""


def renamed(state: State) -> dict[str, Tensor]:
    """``state`` with the published parameter names of PSCC-Net replaced by ours; tensors are not touched."""
    result = {}
    for name, tensor in state.items():
        ours = name
        for pattern, replacement in PSCCNET:
            ours = re.sub(pattern, replacement, ours)
        result[ours] = tensor
    return result


def load_published(model: str, files: Iterable[Path], **settings: object) -> Detector:
    """The published checkpoint of ``model``, spread over ``files``; strict: every parameter, and no other.

    PSCC-Net's is loaded with ``layout="released"``, which its weights were trained with. ManTra-Net's five Keras files
    look alike but for their free filters, which are counted here: the first four need ``windows="7-15-31-63"`` among
    the ``settings``, the very first ``bounded=True`` too, the last one (index 4) nothing.

    Raises:
        ForeignWeights: The files are of something else.
    """
    files = list(files)
    if model not in PUBLISHED:
        raise UnknownName("model with a published checkpoint", model, PUBLISHED)
    found, state = PUBLISHED[model](files)
    detector = create(model, **{**found, **settings})
    try:
        detector.net.load_state_dict(state, strict=True)
    except RuntimeError as error:  # names or shapes, each told
        names = ", ".join(map(str, files))
        raise ForeignWeights(names, model, str(error), remedy="give all files of the published checkpoint") from error
    return detector


def _psccnet(files: list[Path]) -> Published:
    state: dict[str, Tensor] = {}
    for file in files:
        state |= renamed(read(file))
    return {"layout": "released"}, state


def _mantranet(files: list[Path]) -> Published:
    if len(files) != 1:
        raise ValueError(f"ManTra-Net's weights are one file, got {len(files)}\n  -> give one of its .h5 files")
    weights = keras_weights.read(files[0])
    why = keras_weights.mismatch(weights, MANTRANET)
    if why:
        raise ForeignWeights(files[0], "mantranet", why, remedy="give the whole model's weights, as published")
    state = keras_weights.to_torch(weights, MANTRANET)
    state["zpool.norm.num_batches_tracked"] = torch.tensor(0)
    return {"free": len(state["extractor.first.free"])}, state


PUBLISHED = {"psccnet": _psccnet, "mantranet": _mantranet}
"""What reads each model's files: the settings that they were trained with, and the state."""


def read(file: Path) -> dict[str, Any]:
    """What ``torch.save`` wrote, tensors and plain containers only."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises whatever foreign bytes lead it to
        raise ValueError(f"{file} is no checkpoint: {_told(error)}\n  -> give a file written by torch.save") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not a dictionary\n  -> give a state dict")
    return content


def _told(error: Exception) -> str:
    """What torch says of the file, without its advice to load what may run code."""
    words = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return f"{type(error).__name__} {words.strip().splitlines()[0].partition('. ')[0] if words.strip() else ''}".strip()


def load(file: Path, *, model: str | None = None) -> Detector:
    """A checkpoint of ours, onto the CPU: ``{"model": name, "settings": {...}, "state": {...}}``; or ManTra-Net's .h5.

    ``model``, where it is given, is the name that the checkpoint has to bear: psccnet-lite is not psccnet. A Keras file
    is taken for the released ManTra-Net of index 4; those of 2 and 3, which look the same, need more windows
    (:func:`load_published`).

    Raises:
        ForeignWeights: A Keras file of something else.
        ValueError: No checkpoint, or one of another model.
    """
    if file.suffix in keras_weights.SUFFIXES:
        _check_model(file, "mantranet", wanted=model)
        return _last_released(file)
    content = read(file)
    missing = sorted({"model", "settings", "state"} - set(content))
    if missing:
        raise ValueError(f"{file} lacks {missing}\n  -> give a checkpoint written by python -m training fit")
    if str(content["model"]).endswith(FIRST_STEP):
        raise ValueError(
            f"{file} holds weights of {content['model']}, which classifies patches and locates nothing\n"
            "  -> python -m training classify judges them; python -m training fit goes on from them by --weights"
        )
    _check_model(file, content["model"], wanted=model)
    detector = restored(content["model"], content["settings"])
    detector.load_state_dict(content["state"], strict=True)
    return detector


def _check_model(file: Path, model: str, *, wanted: str | None) -> None:
    if wanted not in {None, model}:
        raise ValueError(f"{file} holds weights of {model}, not of {wanted}\n  -> name {model}")


def _last_released(file: Path) -> Detector:
    detector = load_published("mantranet", [file])
    free, last = detector.settings["free"], create("mantranet").settings["free"]
    if free != last:
        raise ValueError(
            f"{file} has {free} free filters: it is of an earlier release, whose windows no file tells\n"
            "  -> load_published of training.checkpoints takes them, and save of the same makes a checkpoint"
        )
    return detector


def fitting(file: Path, detector: Detector, *, model: str) -> dict[str, Tensor]:
    """The state of a checkpoint of ``model`` to go on from in ``detector``; weights that are ``silent`` may be new.

    Raises:
        ValueError: A checkpoint of another model, or of settings with other weights.
    """
    trained = load(file, model=model)
    wanted = detector.state_dict()
    silent = f"net.{detector.net.silent}" if hasattr(detector.net, "silent") else None
    fresh = {name: value for name, value in wanted.items() if silent and name.startswith(silent)}
    state = fresh | trained.state_dict()
    if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in wanted.items()}:
        told = differences(trained.settings, detector.settings)
        raise ValueError(f"{file} was trained with {told}\n  -> ask for the same, or for weights with these settings")
    if told := differences(trained.settings, detector.settings):
        log.warning("%s was trained with %s: its weights go on as these settings read them", file, told)
    return state


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What both name and say differently: ``width=16, not 64; ...``."""
    both = sorted(before.keys() & after.keys())
    return "; ".join(f"{name}={before[name]}, not {after[name]}" for name in both if before[name] != after[name])


def save(file: Path, model: str, detector: Detector) -> None:
    """Write what :func:`load` reads, atomically."""
    partial = file.with_suffix(".partial")
    torch.save({"model": model, "settings": detector.settings, "state": detector.state_dict()}, partial)
    partial.replace(file)
