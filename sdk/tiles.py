"""Cut frames into tiles with a halo, and put what they give into one piece."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.progress import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays, Pending
    from sdk.contract import Tiling
    from sdk.progress import Tell

_LEAST_BAND = 4
"""Halos in the lowest band that a frame is cut into for the sake of all cores."""
_SMALL = 4
"""Preferred tiles in a frame that is cut for the sake of all cores alone: between its tiles halos are what costs."""


def is_small(tiling: Tiling, sides: tuple[int, ...]) -> bool:
    """Whether a frame with these sides, height and width, is too few tiles for any to be cut for its size's sake."""
    return math.prod(sides) <= _SMALL * tiling.height * tiling.width


def shared_out(tiling: Tiling, sides: tuple[int, ...], parallel: int) -> Tiling:
    """``tiling`` for a frame with these sides, height and width, and ``parallel`` runs at once.

    Bands are low enough to give work to all of them, unless they were mostly halo. A small frame is cut into nothing
    else; of a large one no tile is larger than preferred, whatever its size and however many run.
    """
    height, width = sides
    band = max(math.ceil(height / parallel), _LEAST_BAND * max(tiling.halo, 1))
    if is_small(tiling, sides):
        return dataclasses.replace(tiling, height=band, width=width)
    return dataclasses.replace(tiling, height=min(tiling.height, band))


def run_tiled(
    submit: Callable[[NDArray[Any]], Pending],
    pixels: NDArray[Any],  # [N, H, W, C]
    tiling: Tiling,
    *,
    parallel: int = 1,
    tell: Tell = silent,
) -> Arrays:  # each [N, ceil(H / s), ceil(W / s), C'] for its stride s
    """What one run over ``pixels`` gives, from runs over tiles with a halo, each written into place.

    Intermediate maps are never whole in memory, and those of small tiles stay in a core's cache.
    ``parallel`` tiles are under way at once; ``tell`` hears of every one that is done.
    """
    whole: Arrays = {}
    for tile in each_tile(submit, pixels, tiling, parallel=parallel, tell=tell):
        _place(whole, tile, pixels.shape, tiling)
    return whole


def each_tile(
    submit: Callable[[NDArray[Any]], Pending],
    pixels: NDArray[Any],  # [N, H, W, C]
    tiling: Tiling,
    *,
    parallel: int,
    tell: Tell = silent,
) -> Iterator[Tile]:
    """Every tile in order, ``parallel`` under way at once; one counts as done when the next is asked for."""
    places = list(tiles(pixels.shape, tiling))
    left, waiting = iter(places), deque[Tile]()
    for done in range(1, len(places) + 1):
        for row, column in itertools.islice(left, parallel - len(waiting)):
            crop = np.ascontiguousarray(pixels[:, row.start : row.end, column.start : column.end])
            waiting.append(Tile(row, column, submit(crop)))
        yield waiting.popleft()
        tell(done, len(places))


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, px of the input: ``low`` to ``high`` is kept of what ``start`` to ``end`` gives."""

    low: int
    high: int
    start: int
    end: int

    def slices(self, stride: int) -> tuple[slice, slice]:
        """Where the kept part lies in the whole output and in the tile's output, for an output of that stride."""
        low, high, offset = self.low // stride, math.ceil(self.high / stride), self.start // stride
        return slice(low, high), slice(low - offset, high - offset)


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """A tile whose outputs are being computed."""

    row: Span
    column: Span
    pending: Pending


def tiles(shape: tuple[int, ...], tiling: Tiling) -> Iterator[tuple[Span, Span]]:
    """Rows and columns of every tile of pixels of ``shape`` [N, H, W, C]."""
    rows = spans(shape[1], tiling.height, halo=tiling.halo, align=tiling.align)
    return itertools.product(rows, spans(shape[2], tiling.width, halo=tiling.halo, align=tiling.align))


def spans(size: int, tile: int, *, halo: int, align: int) -> list[Span]:
    """Cut ``size`` px into tiles of about ``tile`` px and a halo, all of one extent.

    Runtimes plan memory and kernels anew for every shape they meet, so all crops get the same extent: those at the
    border are moved inwards, not clipped, which gives them more halo than they need. An extent congruent to ``size``
    modulo ``align`` lets the last crop end at the border and still start on the grid of every output.
    """
    count = math.ceil(size / tile)
    core = _up(math.ceil(size / count), align)
    margin = _up(halo, align)
    extent = core + min(count - 1, 2) * margin  # each of two has the other on one side, and the border on the other
    extent += (size - extent) % align
    if extent >= size:
        return [Span(0, size, 0, size)]
    return list(_cut(size, core, margin, extent))


def _place(whole: Arrays, tile: Tile, shape: tuple[int, ...], tiling: Tiling) -> None:
    """Wait for a tile and write the kept part of each of its outputs into the whole one."""
    for name, part in tile.pending.result().items():
        stride = tiling.strides[name]
        if name not in whole:
            size = (math.ceil(side / stride) for side in shape[1:3])
            whole[name] = np.empty((len(part), *size, *part.shape[3:]), part.dtype)
        to_rows, from_rows = tile.row.slices(stride)
        to_columns, from_columns = tile.column.slices(stride)
        whole[name][:, to_rows, to_columns] = part[:, from_rows, from_columns]


def _cut(size: int, core: int, margin: int, extent: int) -> Iterator[Span]:
    for low in range(0, size, core):
        start = min(max(0, low - margin), size - extent)
        yield Span(low, min(low + core, size), start, start + extent)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
