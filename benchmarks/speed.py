"""What speed and memory are asked of PSCC-Net on two threads, what was reached, and what bounds it.

Two bounds stand beside a speed: what the runtime makes of torch's own export in the same rounds, and what the machine
would give if every layer took no longer than its arithmetic or its traffic (:mod:`benchmarks.roofline`). A floor beyond
the second is beyond every engine that runs layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
MODELS = {"latency": ("psccnet",), "memory": ("psccnet", "psccnet-lite")}
"""Of whom it is asked, by kind of result."""
EAGER, OURS = "eager torch f32", "imdl openvino"
RUNTIMES = ("plain openvino", "one piece openvino")
"""The runtime alone: on torch's own export or, where that was not run, on the artifact's graph."""
FASTER = (("512x512", "f32", 4.5), ("512x512", "bf16", 17.0), ("1920x1080", "bf16", 20.0))
"""Frame, precision, and how many times as fast as eager torch an analysis is to be."""
FASTER_THAN_RUNTIME = ("1920x1080", "bf16", 1.2)
"""The same against the runtime alone."""
MOST = {
    "import_s": ("import sdk, s at most", 0.3),
    "first_analysis_s": ("load and first analysis at 512, s at most", 2.0),
    "analyze_1080p_native_peak_rss_mib": ("`imdl analyze`, 1080p at native size, MiB at most", 2.0e9 / 2**20),
    "analyze_24mp_native_peak_rss_mib": ("the same, 24 megapixels", 8.0e9 / 2**20),
}
"""Figures of :mod:`benchmarks.memory`, what they are called, and the most that they are to be."""


class Floor(NamedTuple):
    """One thing that is asked; ``found`` is None where it was not measured, and then it is not reached."""

    what: str
    needed: float
    found: float | None
    reached: bool
    runtime: float | None = None
    """What the runtime alone gives."""
    bound: float | None = None
    """What the machine gives at most."""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "not measured" if self.found is None else "reached" if self.reached else "missed"


def of_latency(result: Row) -> Iterator[Floor]:
    """Floors of speed, from a result of :mod:`benchmarks.latency`."""
    rows = {f"{row['width']}x{row['height']} {row['contender']} {row['precision']}": row for row in result["rows"]}
    for frame, precision, needed in FASTER:
        what = f"{frame} {precision}, times as fast as eager torch"
        yield _speed(what, needed, rows, base=f"{frame} {EAGER}", of=(frame, precision))
    frame, precision, needed = FASTER_THAN_RUNTIME
    runtime = _runtime(rows, frame, precision)
    yield _speed(f"{frame} {precision}, as the runtime alone", needed, rows, base=runtime, of=(frame, precision))


def of_memory(result: Row) -> Iterator[Floor]:
    """Floors of memory and of the time from nothing, from a result of :mod:`benchmarks.memory`."""
    for key, (name, most) in MOST.items():
        found = result.get(key)
        what = name if key == "import_s" else f"{name}, {result['precision']}"
        yield Floor(what, most, found, found is not None and found <= most)


def _speed(what: str, needed: float, rows: Mapping[str, Row], *, base: str, of: tuple[str, str]) -> Floor:
    """How many times as fast as the contender ``base`` an analysis of a frame in a precision (``of``) is."""
    frame, precision = of

    def times(ms: float | None) -> float | None:
        return rows[base]["median_ms"] / ms if ms and base in rows else None

    ours = rows.get(f"{frame} {OURS} {precision}", {})
    found = times(ours.get("median_ms"))
    runtime = times(rows.get(_runtime(rows, *of), {}).get("median_ms"))
    return Floor(what, needed, found, found is not None and found >= needed, runtime, times(ours.get("least_ms")))


def _runtime(rows: Mapping[str, Row], frame: str, precision: str) -> str:
    """The row of the runtime alone: of ``RUNTIMES`` the first that is there."""
    names = [f"{frame} {name} {precision}" for name in RUNTIMES]
    return next((name for name in names if name in rows), names[0])
