"""What frames per second are asked of one data-centre GPU (an H200), at 1080p, one frame a call, in bf16 or fp16."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.speed import Floor

Row = Mapping[str, Any]
FRAME = (1080, 1920)
LOW = ("bf16", "fp16")
TIMES_EAGER = 2.5
"""How many times as fast as eager PyTorch in the same precision a frame is to become a result, at its own size."""


class Asked(NamedTuple):
    """Frames per second of one figure."""

    what: str
    figure: str
    """"engine", "frame" or "stream"."""
    working_size: int
    fps: float


ASKED = {
    "psccnet": (
        Asked("the graphs alone", "engine", 0, 100),
        Asked("a frame to its result", "frame", 0, 80),
        Asked("`imdl stream` from end to end", "stream", 0, 50),
        Asked("a frame to its result", "frame", 512, 400),
    ),
    "mantranet": (Asked("a frame to its result", "frame", 0, 25),),
}  # fmt: skip
"""By model. An engine that runs layer by layer is bound at 207 FPS of PSCC-Net and 44 FPS of ManTra-Net there."""


def working_sizes(model: str) -> list[int]:
    """Those that something is asked at, px; 0 is the frame's own size."""
    return sorted({asked.working_size for asked in ASKED.get(model, ())})


def of(result: Row, *, beside: Sequence[Row] = ()) -> Iterator[Floor]:
    """Floors from a result of :mod:`benchmarks.throughput` on a GPU; ``beside`` are PyTorch's rows of another."""
    if result["device"] != "cuda":
        return
    for what, figure, working_size, needed in ASKED.get(result["model"], ()):
        rows = result["streams"] if figure == "stream" else result["rows"]
        best = max(_at(rows, working_size, "imdl"), key=lambda row: _fps(row, figure), default={})
        found = _fps(best, figure) or None
        size = f"analysed at {working_size} px" if working_size else "at its own size"
        name = f"1920x1080 {size}, {what}, FPS"
        yield Floor(name, needed, found, found is not None and found >= needed, bound=best.get("bound_fps"))
    if result["model"] in ASKED:
        yield _against_eager([*result["rows"], *beside])


def _against_eager(rows: Sequence[Row]) -> Floor:
    """The best of all precisions in which both ran."""
    ratios = [
        _fps(ours, "frame") / _fps(eager, "frame")
        for eager in _at(rows, 0, "eager torch")
        for ours in _at(rows, 0, "imdl")
        if ours["precision"] == eager["precision"]
    ]
    found = max(ratios, default=None)
    name = "1920x1080 at its own size, times as fast as eager PyTorch"
    return Floor(name, TIMES_EAGER, found, found is not None and found >= TIMES_EAGER)


def _at(rows: Iterable[Row], working_size: int, run_by: str) -> Iterator[Row]:
    """Rows of single frames of that size in low precision that ran."""
    for row in rows:
        here = (row["height"], row["width"]) == FRAME and row["working_size"] == working_size and row["batch"] == 1
        if here and row["precision"] in LOW and row["run_by"].startswith(run_by) and "failed" not in row:
            yield row


def _fps(row: Row, figure: str) -> float:
    """Of one figure; 0 where it was not measured."""
    found = row if figure == "stream" else row.get(figure) or {}
    return float(found.get("fps") or 0.0)
