"""One artifact of a small PSCC-Net, exported once for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export import parity, precision
from export.freeze import settle
from export.targets import onnx
from sdk.contract import Contract
from tests.sdk.engines.conftest import artifact_path, device, package, session
from training import models
from training.card import Card
from training.nn.detector import Detector

__all__ = ["artifact_path", "device", "package", "session"]

SMALL = ((32, 32), (75, 97), (64, 200))


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Frames with edges, gradients and grain."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:200, 0:260].astype(np.float64)
    frames = []
    for phase in range(2):
        waves = 128 + 60 * np.sin(rows / (9 + phase)) + 50 * (columns > 130)
        frames.append(np.clip(waves[..., None] + 8 * rng.standard_normal((200, 260, 3)), 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="session")
def detector(photographs: list[np.ndarray]) -> Detector:
    torch.manual_seed(0)
    detector = models.create("psccnet-lite", grid=64)
    settle(detector, [torch.from_numpy(np.stack(photographs))])
    return detector


@pytest.fixture(scope="session")
def exported(
    detector: Detector, photographs: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Contract]:
    """The artifact's directory and contract."""
    target = tmp_path_factory.mktemp("artifacts") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "SIZES", SMALL)
        patch.setattr(parity, "WHOLE_SIZES", SMALL[:2])
        patch.setattr(parity, "SHRUNK", ((75, 97), 48))
        patch.setattr(precision, "SIZE", (64, 64))
        card = Card(
            working_size=128,
            thresholds={size: {"photographs": {"0.01": 0.9, "0.05": 0.8}} for size in ("0", "128")},
        )
        contract = onnx.export(
            detector, target, name="small", model="psccnet-lite", card=card, photographs=photographs, required=("f32",)
        )
    return target, contract
