"""Execute an artifact's plan: named graphs over named arrays, in one piece or, where that is exact, in tiles."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk import passes
from sdk.errors import ArtifactInvalid
from sdk.progress import Tell, Told
from sdk.tiles import run_tiled, shared_out, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays, Pending, Session
    from sdk.contract import Contract, Graph, Step, Tiling

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
    told: Told | None = None,
) -> Answer:
    """Run the contract's plan on ``frames`` with the sessions that ``session`` gives for graph names.

    ``precision`` is that of the sessions; tiles are cut for it. ``told`` hears of every piece that is done.
    """
    told = told or Told(None)
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
        if step.when == ("native" if shrinking else "shrinking") or not localised.any():
            continue
        start = time.perf_counter()
        graph, tiling = contract.graphs[step.graph], step.tiling and step.tiling.at(precision)
        if step.passes and tiling:
            arrays |= passes.run(
                contract, step, step.passes, session, pixels=arrays["pixels"], tiling=tiling, told=told
            )
        else:
            feeds = _feeds(graph, arrays, None if localised.all() else localised)
            arrays |= _run(graph, session(step.graph), feeds, tiling=tiling, tell=told.of(step.graph))
        arrays = {name: array for name, array in arrays.items() if name in _still_read(contract, step)}
        stages[step.graph] = 1e3 * (time.perf_counter() - start)
    heatmap = arrays.get("heatmap")
    if not any(step.when == "localising" for step in contract.plan):  # every frame was localised, asked or not
        localised = arrays["score"] >= min_score
        heatmap = heatmap[localised] if heatmap is not None and localised.any() else None
    return Answer(arrays["score"], heatmap, localised, stages)


def _still_read(contract: Contract, step: Step) -> set[str]:
    """What the steps after ``step`` read, and the answer: maps of a large frame must not outlive their readers."""
    later = contract.plan[contract.plan.index(step) + 1 :]
    read = (tensor.name for each in later for name in each.graphs for tensor in contract.graphs[name].inputs)
    return {"score", "heatmap", "pixels", *read}


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


def _run(graph: Graph, session: Session, feeds: Arrays, *, tiling: Tiling | None, tell: Tell) -> Arrays:
    """Outputs of one graph, tiled if ``tiling`` says how and the pixels are more than one tile."""
    if tiling is None:
        return _in_one_piece(graph, session, feeds, tell)
    if len(feeds) != 1:
        raise ArtifactInvalid(f"{graph.file} is tiled and has {len(feeds)} inputs, not one", remedy="export it again")
    ((name, pixels),) = feeds.items()
    tiling = shared_out(tiling, pixels.shape[1:3], session.parallel)
    if len(list(tiles(pixels.shape, tiling))) == 1:  # run waits for its turn, submit would add a request
        return _in_one_piece(graph, session, feeds, tell)

    def submit(tile: NDArray[Any]) -> Pending:
        return session.submit(graph.typed({name: tile}))

    return run_tiled(submit, pixels, tiling, parallel=session.parallel, tell=tell)


def _in_one_piece(graph: Graph, session: Session, feeds: Arrays, tell: Tell) -> Arrays:
    outputs = session.run(graph.typed(feeds))
    tell(1, 1)
    return outputs
