"""Two passes over tiles: told in order, and in memory that does not grow with the frame."""

from __future__ import annotations

import dataclasses
import tracemalloc
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from sdk import passes
from sdk.contract import Graph, Passes, Step, Tensor, Tiling
from sdk.errors import ArtifactInvalid
from sdk.progress import Progress, Told

CHANNELS = 64
TILING = Tiling(halo=4, align=2, height=32, width=48, strides={"f1": 1})
STEP = Step(graph="answer", tiling=TILING, passes=Passes(maps=("first", "local"), halo=3))
COARSE = dataclasses.replace(STEP, passes=Passes(maps=("first", "local"), halo=4, stride=4))
"""The same of a map of every fourth row and column."""


def tensor(name: str, *shape: int | str) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=shape, meaning="")


def graph(name: str, *shapes: tuple[str, int]) -> Graph:
    *inputs, output = (tensor(key, "N", "h", "w", channels) for key, channels in shapes)
    return Graph(file=f"{name}.onnx", inputs=tuple(inputs), outputs=(output,))


TERMS = SimpleNamespace(
    graphs={
        "first": graph("first", ("pixels", 3), ("r0", 3)),
        "local": graph("local", ("r0", 3), ("l0", CHANNELS)),
        "answer": Graph(
            file="answer.onnx",
            inputs=(tensor("l0", "N", "h", "w", CHANNELS), tensor("mean", "N", 64), tensor("variance", "N", 64)),
            outputs=(tensor("f1", "N", "h", "w", 1),),
        ),
    }
)


class Computed:
    """A session in NumPy, which is done when it is asked."""

    parallel = 1

    def __init__(self, compute):
        self.run = lambda feeds: compute(**feeds)

    def submit(self, feeds):
        return Done(self.run(feeds))


@dataclass
class Done:
    arrays: dict[str, np.ndarray]

    def result(self):
        return self.arrays


SESSIONS = {
    "first": Computed(lambda pixels: {"r0": pixels / 255}),
    "answer": Computed(lambda l0, mean, variance: {"f1": (l0[..., :1] - mean[0, 0]) / np.sqrt(variance[0, 0])}),
}


def answered(pixels: np.ndarray, told: Told | None = None, *, step: Step = STEP) -> np.ndarray:
    every = step.passes.stride
    made = Computed(lambda r0: {"l0": np.repeat(r0[:, ::every, ::every, :1], CHANNELS, axis=3)})
    sessions = {**SESSIONS, "local": made}
    given = {"pixels": pixels, "tiling": TILING, "told": told or Told(None)}
    return passes.run(TERMS, step, step.passes, sessions.__getitem__, **given)["f1"]


@pytest.fixture(params=[0, 1 << 30], ids=["map made again", "map kept"])
def stored(request, monkeypatch) -> int:
    monkeypatch.setattr(passes, "STORED", request.param)
    return request.param


def test_the_answer_is_normalised_by_the_whole_frame(stored, rng):
    pixels = rng.integers(0, 256, (1, 75, 101, 3), np.uint8)
    plane = pixels[..., :1].astype(np.float64)
    np.testing.assert_allclose(answered(pixels), (plane - plane.mean()) / plane.std(), atol=1e-5)


def test_a_map_of_every_fourth_pixel_is_answered_at_its_own_size(stored, rng):
    pixels = rng.integers(0, 256, (1, 301, 405, 3), np.uint8)
    plane = pixels[:, ::4, ::4, :1].astype(np.float64)
    told = []
    found = answered(pixels, Told(told.append), step=COARSE)
    np.testing.assert_allclose(found, (plane - plane.mean()) / plane.std(), atol=1e-5)
    assert {report.total for report in told} == {3 * 3}  # of 76 by 102 pixels of the map, not of those of the frame


def test_two_passes_of_nothing_are_refused():
    with pytest.raises(ArtifactInvalid, match="two passes have a negative halo or a stride below 1"):
        Passes(maps=("local",), halo=3, stride=0)


def test_both_passes_are_told_tile_by_tile(stored, rng):
    told = []
    answered(rng.integers(0, 256, (1, 96, 96, 3), np.uint8), Told(told.append))
    tiles = 3 * 2
    expected = [Progress(stage, done, tiles) for stage in ("local", "answer") for done in range(1, tiles + 1)]
    assert told == expected


@pytest.mark.parametrize(("height", "pieces"), [(128, 1), (130, 5)])
def test_a_frame_of_four_tiles_is_run_in_one_piece(height, pieces, rng):
    told = []
    answered(rng.integers(0, 256, (1, height, 48, 3), np.uint8), Told(told.append))
    assert told[-1] == Progress("answer", pieces, pieces)


def peak(height: int, width: int) -> int:
    """Bytes that two passes hold at most beside the pixels that they were given."""
    pixels = np.zeros((1, height, width, 3), np.uint8)
    pixels[:, ::2] = 200
    tracemalloc.start()
    try:
        answered(pixels)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_by_the_answer_alone_where_the_map_is_made_again(monkeypatch):
    monkeypatch.setattr(passes, "STORED", 0)
    small, large = peak(128, 192), peak(512, 768)
    answer = 4 * (512 * 768 - 128 * 192)
    assert large - small < 1.1 * answer  # the map would take 64 times that
    monkeypatch.setattr(passes, "STORED", 1 << 30)
    assert peak(512, 768) - small > 40 * answer
