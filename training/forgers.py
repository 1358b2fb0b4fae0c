"""Trained generators as forgers: the last thing that synthesis does to a forgery, from a file that a run has written.

A file holds ``{"model", "settings", "state"}``; :data:`FORGERS` knows what to make of each model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Lets generators finish a ``share`` of the forgeries under their masks, one of them each; picklable, read late."""

    def __init__(self, *files: Path, share: float = SHARE) -> None:
        self.files, self.share = files, share
        self.names = tuple(str(read(file).get("model")) for file in files)
        for name in set(self.names) - set(FORGERS):
            raise UnknownName("forger", name, FORGERS)

    @classmethod
    def of(cls, files: Sequence[Path]) -> Forger | None:
        """The forger of these files; None of none."""
        return cls(*files) if files else None

    def __getstate__(self) -> dict[str, object]:
        """Without the networks."""
        return {key: value for key, value in self.__dict__.items() if key != "paints"}

    @cached_property
    def paints(self) -> tuple[Paint, ...]:
        """The networks."""
        return tuple(FORGERS[name](read(file)) for name, file in zip(self.names, self.files, strict=True))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or what a generator makes of it; pixels outside of its mask do not change."""
        if rng.random() >= self.share:
            return sample
        which = int(rng.integers(len(self.files)))
        frame, mask = (torch.from_numpy(np.ascontiguousarray(array))[None] for array in (sample.frame, sample.mask))
        made = self.paints[which](frame, mask)[0].numpy()
        recipe = {**sample.recipe, "forger": self.names[which]}
        return replace(sample, frame=np.where(sample.mask[..., None], made, sample.frame), recipe=recipe)
