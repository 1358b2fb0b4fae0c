"""Run a network that is local but for two numbers per channel: exactly, in tiles, in bounded memory.

A first pass over the tiles of a frame takes the mean and the variance of every channel of a map, a second answers with
both. A map that fits in :data:`STORED` is made once and kept between the passes; a larger one is made again, tile by
tile, in each: most of the work twice, for memory that does not grow with the frame. A small frame is run in one piece.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.progress import Told
from sdk.tiles import Tile, each_tile, is_small, run_tiled, shared_out, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays, Pending, Session
    from sdk.contract import Contract, Graph, Passes, Step, Tiling
    from sdk.progress import Tell

STORED = 1 << 30
"""Largest map that is kept, bytes."""


class Moments:
    """Mean and variance of every channel, gathered piece by piece in float64 (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = np.zeros(())

    def add(self, piece: NDArray[np.floating]) -> None:  # [N, h, w, C]
        """Count the pixels of ``piece`` in."""
        count = piece.shape[1] * piece.shape[2]
        mean = piece.mean((1, 2), dtype=np.float64)
        squares = np.square(piece - mean[:, None, None]).sum((1, 2))
        total, away = self._count + count, mean - self._mean
        self._squares = self._squares + squares + away**2 * (self._count * count / total)
        self._mean = self._mean + away * (count / total)
        self._count = total

    def arrays(self) -> Arrays:
        """``mean`` and ``variance``, [N, C] each, of all pixels that were counted in."""
        return {"mean": self._mean, "variance": self._squares / self._count}


def run(
    contract: Contract,
    step: Step,
    passes: Passes,
    session: Callable[[str], Session],
    *,
    pixels: NDArray[Any],  # [N, H, W, 3]
    tiling: Tiling,
    told: Told,
) -> Arrays:
    """Outputs of the step's graph for the whole of ``pixels``, with word of each pass.

    ``tiling`` says how the map is tiled, whose pixels may be ``passes.stride`` of the frame's: so are the outputs'.
    """
    *before, local, answer = (contract.graphs[name] for name in step.graphs)
    *earlier, make, judge = (session(name) for name in step.graphs)
    (output,) = local.outputs

    def maps(tile: NDArray[Any]) -> Pending:
        arrays = {(before[0] if before else local).inputs[0].name: tile}
        for graph, prepare in zip(before, earlier, strict=True):
            arrays = prepare.submit(graph.typed(arrays)).result()
        return make.submit(local.typed(arrays))

    def answers(tile: NDArray[Any], moments: Arrays) -> Pending:
        return judge.submit(answer.typed({output.name: tile, **moments}))

    stride, channels = passes.stride, int(output.shape[3])
    height, width = (math.ceil(side / stride) for side in pixels.shape[1:3])
    first, second = (told.of(name) for name in step.graphs[-2:])
    if is_small(tiling, (height, width)):
        return _in_one_piece([*before, local, answer], [*earlier, make, judge], pixels, told=(first, second))
    tiling = shared_out(tiling, (height, width), judge.parallel)
    near = _of_pixels(tiling, stride, halo=passes.halo, outputs=[output.name])
    gathered = Moments()
    if 4 * channels * len(pixels) * height * width <= STORED:
        whole = run_tiled(maps, pixels, near, parallel=make.parallel, tell=first)[output.name]
        for row, column in tiles(pixels.shape, near):
            gathered.add(whole[:, row.slices(stride)[0], column.slices(stride)[0]])
        moments = gathered.arrays()
        return run_tiled(lambda tile: answers(tile, moments), whole, tiling, parallel=judge.parallel, tell=second)
    for tile in each_tile(maps, pixels, near, parallel=make.parallel, tell=first):
        gathered.add(_kept(tile, output.name, stride))
    moments = gathered.arrays()
    far = _of_pixels(tiling, stride, halo=passes.halo + stride * tiling.halo, outputs=tiling.strides)

    def both(tile: NDArray[Any]) -> Pending:
        return answers(maps(tile).result()[output.name], moments)

    return run_tiled(both, pixels, far, parallel=judge.parallel, tell=second)


def _in_one_piece(
    graphs: Sequence[Graph], sessions: Sequence[Session], pixels: NDArray[Any], *, told: tuple[Tell, Tell]
) -> Arrays:
    """The same of a small frame, whose halos would cost more than tiles bring."""
    *makers, (answer, judge) = zip(graphs, sessions, strict=True)
    arrays: Arrays = {graphs[0].inputs[0].name: pixels}
    for graph, session in makers:
        arrays = session.run(graph.typed(arrays))
    told[0](1, 1)
    gathered = Moments()
    for made in arrays.values():
        gathered.add(made)
    answered = judge.run(answer.typed(arrays | gathered.arrays()))
    told[1](1, 1)
    return answered


def _of_pixels(tiling: Tiling, stride: int, *, halo: int, outputs: Iterable[str]) -> Tiling:
    """``tiling`` of a map as one of the pixels, of which it has every ``stride``-th, as ``outputs`` have."""
    height, width, align = (stride * extent for extent in (tiling.height, tiling.width, tiling.align))
    strides = dict.fromkeys(outputs, stride)
    return dataclasses.replace(tiling, halo=halo, align=align, height=height, width=width, strides=strides)


def _kept(tile: Tile, name: str, stride: int) -> NDArray[Any]:
    """What a tile gives for its own pixels, halo left off."""
    rows, columns = (span.slices(stride)[1] for span in (tile.row, tile.column))
    return tile.pending.result()[name][:, rows, columns]
