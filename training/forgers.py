"""Trained generators as forgers: the last thing that synthesis does to a forgery, from a file that a run has written.

A file holds ``{"model", "settings", "state"}``; :data:`FORGERS` knows what to make of each model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.checkpoints import read
from training.errors import UnknownName
from training.nn.retoucher import Retoucher
from training.nn.unet import UNet
from training.synthesis.sample import Sample

GSRNET = "gsrnet-generator"
"""Name of GSR-Net's generator in its file."""
MAG = "mag-retoucher"
"""Name of MAG's retoucher in its file."""
SHARE = 0.5
"""How many of the forgeries are finished."""
Paint = Callable[[Tensor, Tensor], Tensor]
"""Frames uint8 [N, H, W, 3] and masks bool [N, H, W] to frames."""


def gsrnet(content: dict[str, Any]) -> Paint:
    """GSR-Net's generator."""
    net = UNet(**content["settings"]).eval()
    net.load_state_dict(content["state"])
    return net.pixels


def mag(content: dict[str, Any]) -> Paint:
    """MAG's retoucher, which is not told where the forgery is."""
    net = Retoucher(**content["settings"]).eval()
    net.load_state_dict(content["state"])
    return lambda frame, _: net.pixels(frame)


FORGERS: dict[str, Callable[[dict[str, Any]], Paint]] = {GSRNET: gsrnet, MAG: mag}


class Forger:
    """Lets a generator finish a ``share`` of the forgeries under their masks; picklable, read on first use."""

    def __init__(self, file: Path, share: float = SHARE) -> None:
        self.file, self.share = file, share
        self.name = str(read(file).get("model"))
        if self.name not in FORGERS:
            raise UnknownName("forger", self.name, FORGERS)

    def __getstate__(self) -> dict[str, object]:
        """Without the network."""
        return {key: value for key, value in self.__dict__.items() if key != "paint"}

    @cached_property
    def paint(self) -> Paint:
        """The network."""
        return FORGERS[self.name](read(self.file))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or what the generator makes of it; pixels outside of its mask do not change."""
        if rng.random() >= self.share:
            return sample
        frame, mask = (torch.from_numpy(np.ascontiguousarray(array))[None] for array in (sample.frame, sample.mask))
        made = self.paint(frame, mask)[0].numpy()
        recipe = {**sample.recipe, "forger": self.name}
        return replace(sample, frame=np.where(sample.mask[..., None], made, sample.frame), recipe=recipe)
