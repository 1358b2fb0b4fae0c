"""Execute an artifact's plan: named graphs over named arrays, in one piece or, where that is exact, in tiles."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.errors import ArtifactInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays, Pending, Session
    from sdk.contract import Contract, Graph, Tiling

_LEAST_BAND = 4
"""Halos in the lowest band that a frame is cut into for the sake of all cores."""
_BATCH = "N"
"""Name of the batch axis in the contract's shapes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a plan made of frames of one shape."""

    score: NDArray[np.float32]
    """[N] in [0, 1]."""
    heatmap: NDArray[np.float32] | None
    """[M, H, W] in [0, 1], one for each frame whose score reached ``min_score``, in order; None if none did."""
    localised: NDArray[np.bool_]
    """[N], whether the frame reached ``min_score``."""
    stages: dict[str, float]
    """Milliseconds by graph."""


def execute(
    contract: Contract,
    session: Callable[[str], Session],
    frames: NDArray[np.uint8],  # [N, H, W, 3]
    *,
    working_size: int,
    min_score: float = 0.0,
    precision: str = "f32",
) -> Answer:
    """Run the contract's plan on ``frames`` with the sessions that ``session`` gives for graph names.

    ``precision`` is that of the sessions; tiles are cut for it.
    """
    height, width = frames.shape[1:3]
    shrinking = 0 < working_size < max(height, width)
    arrays: Arrays = {
        "frame": frames,
        # Without shrinking the pixels are the frame; the cast to float is left to whoever reads a part of it.
        "pixels": frames,
        "working_size": np.array(working_size, np.int64),
        "height": np.array(height, np.int64),
        "width": np.array(width, np.int64),
    }
    stages: dict[str, float] = {}
    localised = np.ones(len(frames), np.bool_)
    for step in contract.plan:
        if step.when == "localising":
            localised = arrays["score"] >= min_score
        if (step.when == "shrinking" and not shrinking) or not localised.any():
            continue
        start = time.perf_counter()
        graph = contract.graphs[step.graph]
        feeds = _feeds(graph, arrays, None if localised.all() else localised)
        arrays |= _run(graph, session(step.graph), feeds, tiling=step.tiling and step.tiling.at(precision))
        stages[step.graph] = 1e3 * (time.perf_counter() - start)
    return Answer(arrays["score"], arrays.get("heatmap"), localised, stages)


def _feeds(graph: Graph, arrays: Arrays, rows: NDArray[np.bool_] | None) -> Arrays:
    """The graph's inputs, of a batch only the frames in ``rows``."""
    missing = sorted({tensor.name for tensor in graph.inputs} - set(arrays))
    if missing:
        raise ArtifactInvalid(f"no earlier step of the plan makes {missing} for {graph.file}", remedy="export it again")
    batched = {tensor.name for tensor in graph.inputs if rows is not None and tensor.shape[:1] == (_BATCH,)}
    return {
        tensor.name: arrays[tensor.name][rows] if tensor.name in batched else arrays[tensor.name]
        for tensor in graph.inputs
    }


def _run(graph: Graph, session: Session, feeds: Arrays, *, tiling: Tiling | None) -> Arrays:
    """Outputs of one graph, tiled if ``tiling`` says how and the pixels are more than one tile."""
    dtypes = {tensor.name: tensor.dtype for tensor in graph.inputs}

    def typed(piece: Arrays) -> Arrays:
        return {name: array.astype(dtypes[name], copy=False) for name, array in piece.items()}

    if tiling is None:
        return session.run(typed(feeds))
    if len(feeds) != 1:
        raise ArtifactInvalid(f"{graph.file} is tiled and has {len(feeds)} inputs, not one", remedy="export it again")
    ((name, pixels),) = feeds.items()
    tiling = shared_out(tiling, pixels.shape[1], session.parallel)
    if len(list(tiles(pixels.shape, tiling))) == 1:  # run waits for its turn, submit would add a request
        return session.run(typed(feeds))
    return run_tiled(lambda tile: session.submit(typed({name: tile})), pixels, tiling, parallel=session.parallel)


def shared_out(tiling: Tiling, height: int, parallel: int) -> Tiling:
    """``tiling`` in bands low enough to give work to all ``parallel`` runs, unless they were mostly halo."""
    band = max(math.ceil(height / parallel), _LEAST_BAND * max(tiling.halo, 1))
    return dataclasses.replace(tiling, height=min(tiling.height, band))


def run_tiled(
    submit: Callable[[NDArray[Any]], Pending],
    pixels: NDArray[Any],  # [N, H, W, C]
    tiling: Tiling,
    *,
    parallel: int = 1,
) -> Arrays:  # each [N, ceil(H / s), ceil(W / s), C'] for its stride s
    """What one run over ``pixels`` gives, from runs over tiles with a halo, each written into place.

    Intermediate maps are never whole in memory, and those of small tiles stay in a core's cache.
    ``parallel`` tiles are under way at once.
    """
    whole: Arrays = {}
    started: deque[Tile] = deque()
    for row, column in tiles(pixels.shape, tiling):
        if len(started) == parallel:
            _place(whole, started.popleft(), pixels.shape, tiling)
        crop = np.ascontiguousarray(pixels[:, row.start : row.end, column.start : column.end])
        started.append(Tile(row, column, submit(crop)))
    while started:
        _place(whole, started.popleft(), pixels.shape, tiling)
    return whole


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
    core = _up(math.ceil(size / math.ceil(size / tile)), align)
    margin = _up(halo, align)
    extent = core + 2 * margin
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
