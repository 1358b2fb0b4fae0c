"""ManTra-Nets and frames for tests, in float64."""

from __future__ import annotations

import numpy as np
import torch

from training import models
from training.models.mantranet import ManTraNet
from training.nn.residuals import constrain_bayar

SETTINGS = [
    {},
    {"body": "table5", "magnitude": False},
    {"body": "lite", "channels": 16},
    {"windows": "7-15-31-63", "order": "far-to-near", "bounded": True, "free": 20},
    {"body": "lite", "channels": 32, "halvings": 3, "magnitude": False},
    {"body": "table5", "halvings": 1},
]


def network(**settings: object) -> ManTraNet:
    """Weights as after training: no constant or zero among what is learned or counted."""
    torch.manual_seed(4)
    net = models.create("mantranet", **settings).net.double().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
        net.zpool.min_std.uniform_(0, 0.02)
        net.zpool.norm.running_mean.normal_(0, 0.1)
        net.zpool.norm.running_var.uniform_(1e-4, 1e-2)
    net.constrain()
    return net


def unit(frame: np.ndarray) -> torch.Tensor:
    """A frame, uint8 [H, W, 3], as the network takes it."""
    return torch.from_numpy(frame.transpose(2, 0, 1)[None] / 255)


def levels(frame: np.ndarray) -> torch.Tensor:
    """A frame, uint8 [H, W, 3], as a simplified network takes it."""
    return torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float64))


def grown_bayar(seed: int, largest: float) -> torch.Tensor:
    """Bayar's filters as after long training, of either sign and about as large as that, float32 [3, 3, 5, 5]."""
    weight = torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    weight[..., 2, 2] = 0
    weight -= (weight.sum((2, 3), keepdim=True) - weight.abs().amax((2, 3), keepdim=True) / largest) / 24
    constrain_bayar(weight)
    return weight
