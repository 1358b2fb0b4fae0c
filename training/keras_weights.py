"""Weights in Keras' HDF5 files: arrays by layer and name, brought to torch's layouts.

Keras 2 writes ``/<layer>/<scope>/<name>:0`` and, for a model used as a layer of another, ``/<model>/<scope>/<name>:0``;
what ``model.save`` writes has ``/model_weights`` above it. The scope is the layer's name, with a number behind it where
the session had met the name before. Only these last two parts count here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

Key = tuple[str, str]
"""Layer and name: ``("b1c2", "kernel")``."""

SUFFIXES = (".h5", ".hdf5")
"""How such files are named."""
NAMED = 3
"""So many of the weights that are missing or foreign are named."""
_SCOPE = re.compile(r"^(.*?)(?:_\d+)?$")


def read(file: Path) -> dict[Key, Tensor]:
    """Every array of numbers in ``file`` as float32; raises ValueError where it is no HDF5 file or names repeat."""
    import h5py  # only for those who have such a file

    found: dict[Key, Tensor] = {}

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        *_, scope, name = ["", *path.split("/")]
        if not isinstance(item, h5py.Dataset) or "optimizer_weights" in path:
            return
        if item.shape is None or item.dtype.kind not in "iuf":  # a word, a record, nothing: no weight
            return
        key = (_SCOPE.match(scope)[1], name.removesuffix(":0"))
        if key in found:
            raise ValueError(f"{file} holds {key} twice\n  -> give a file with one model in it")
        found[key] = torch.tensor(item[()], dtype=torch.float32)

    try:
        with h5py.File(file) as content:
            content.visititems(visit)
    except OSError as error:
        if not file.is_file():
            raise
        raise ValueError(f"{file} is no HDF5 file: {error}\n  -> give the weights that Keras saved") from error
    return found


def mismatch(weights: Mapping[Key, Tensor], names: Iterable[Key]) -> str:
    """What ``weights`` lack of ``names`` and what they have besides, in words; empty where they have these alone."""
    wanted = set(names)
    missing, foreign = (_told(keys) for keys in (wanted - weights.keys(), weights.keys() - wanted))
    return "; ".join(filter(None, (missing and f"it lacks {missing}", foreign and f"it has {foreign} besides")))


def to_torch(weights: Mapping[Key, Tensor], names: Mapping[Key, str]) -> dict[str, Tensor]:
    """``weights`` under our ``names``, kernels turned from ``[h, w, inputs, outputs]`` to ``[outputs, inputs, h, w]``.

    :func:`mismatch` says beforehand whether every one is there.
    """
    return {ours: _turned(weights[key]) for key, ours in names.items()}


def _turned(weight: Tensor) -> Tensor:
    if weight.ndim != 4:
        return weight
    if weight.shape[:3] == (1, 1, 1):  # a vector over channels
        return weight.flatten()
    return weight.permute(3, 2, 0, 1).contiguous()


def _told(keys: Iterable[Key]) -> str:
    names = sorted("/".join(key) for key in keys)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
