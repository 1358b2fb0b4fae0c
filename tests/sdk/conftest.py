"""The toy artifact, frames to analyse with it, and decoders for files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sdk
from sdk.decoding import Decoder
from tests.sdk import toy
from tests.sdk.files import scene, smooth


@pytest.fixture(scope="session")
def toy_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with the graphs of a real one and tiny convolutions; its score is the frame's brightness."""
    return toy.build(tmp_path_factory.mktemp("artifacts") / "toy")


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def analyzer(request, toy_path):
    with sdk.load(toy_path, backend=request.param, decode="inline", threads=1) as loaded:
        yield loaded


@pytest.fixture
def frame(rng) -> np.ndarray:
    """A scene of a brightness that is no evidence, of a size that no stride divides."""
    return scene(rng, 95, 133, high=200)


@pytest.fixture(scope="module")
def worker():
    """A decoder that decodes in processes of its own."""
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(params=["worker", "inline"])
def decoder(request, worker):
    """Each of the two ways of decoding."""
    return worker if request.param == "worker" else Decoder(mode="inline")


@pytest.fixture
def picture(rng) -> np.ndarray:
    """A smooth random picture, [48, 64, 3]."""
    return smooth(rng)
