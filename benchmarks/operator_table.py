"""What of a result of :mod:`benchmarks.kernels` is shown, and what was asked of our operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.speed import Floor

ASKED = {"what": "what", "needed": "asked", "found": "found", "bound": "as much as a copy", "verdict": "so"}
POOLS = {"separable": 30, "square": 500}
"""How many times as fast as ONNX Runtime's pools ZPool2D is to be on a CPU, at the size that is timed.

500, of pools of k x k, is missed: ONNX Runtime lays the 64 channels of that size out in blocks of 16.
"""
MOST_OF_FLOOR = 1.3
"""How many times the time of a copy ZPool2D may take on a GPU."""
RIVALS = ("whole torch", "attention torch")
FASTER_ATTENTION = 1.5
"""How many times as fast as the best of those SCCM attention is to be on a GPU, at every size of PSCC-Net."""
Row = Mapping[str, Any]


def headings(result: Row) -> dict[str, str]:
    """Key to title."""
    base, floor = (f"× {result[name]}" for name in ("base", "floor"))
    return {
        "size": "size", "contender": "run by", "median_ms": "median ms", "iqr_ms": "IQR ms", "cpu_ms": "CPU ms",
        "gb_per_s": "GB/s", "tflop_per_s": "TFLOP/s", "times_op": base, "times_floor": floor,
        "peak_rss_mib": "peak MiB", "max_abs": "largest difference",
    }  # fmt: skip


def caption(result: Row) -> str:
    """What was timed, and where."""
    machine, protocol, case = result["provenance"], result["protocol"], result["cases"][0]["case"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"`{result['op']}` in {case['dtype']} on {case['device']}, {protocol['threads']} threads, "
        f"median of {protocol['rounds']} interleaved rounds; {machine['cpu']}, {machine['cores']} cores; "
        f"{packages}; commit {machine['commit']}, {machine['date']}."
    )


def rows(result: Row) -> Iterator[Row]:
    """Rows of the table: by size, the slowest first."""
    for measured in result["cases"]:
        for row in sorted(measured["rows"], key=lambda row: -row["median_ms"]):
            times = {name: row[name] and f"{row[name]:.3g}" for name in ("times_op", "times_floor", "tflop_per_s")}
            yield {**row, **times, "size": measured["case"]["size"], "contender": _named(row)}


def _named(row: Row) -> str:
    return row["contender"] if row["calls"] else f"{row['contender']} (one call)"


def absent(result: Row) -> Iterator[str]:
    """Who could not be timed, and why."""
    for measured in result["cases"]:
        for name, why in measured["absent"].items():
            yield f"Not run at {measured['case']['size']}: {name} ({why})."


def asked(result: Row) -> Iterator[Floor]:
    """What was asked for at the sizes and on the device of the result, and what was found."""
    for measured in result["cases"]:
        case, found = measured["case"], {row["contender"]: row for row in measured["rows"]}
        if (result["op"], case["device"]) == ("zpool2d", "cpu"):
            yield from _pools(case, found)
        elif result["op"] == "zpool2d":
            took = found.get("op torch", {}).get("times_floor")
            reached = took is not None and took <= MOST_OF_FLOOR
            yield Floor(f"{case['size']}: times as long as a copy, at most", MOST_OF_FLOOR, took, reached)
        elif case["device"] == "cuda":
            rivals = [found[name]["times_op"] for name in RIVALS if name in found]
            took = min(filter(None, rivals), default=None)
            what = f"{case['size']}: times as fast as the better of products with softmax and torch's own attention"
            yield Floor(what, FASTER_ATTENTION, took, took is not None and took >= FASTER_ATTENTION)


def _pools(case: Row, found: Mapping[str, Row]) -> Iterator[Floor]:
    """In the opset that this project exports, and in a newer one, whose pools ONNX Runtime computes in another way."""
    for kind, needed in POOLS.items():
        for opset in ("", "newer "):
            row = found.get(f"{kind} {opset}onnxruntime", {})
            took = row.get("times_op")
            what = f"{case['size']}: times as fast as ONNX Runtime's {kind} pools" + (", newer opset" if opset else "")
            reached = took is not None and took >= needed
            yield Floor(what, needed, took, reached, bound=row.get("times_floor"))
