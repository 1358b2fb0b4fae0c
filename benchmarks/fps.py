"""What of a result of :mod:`benchmarks.throughput` is shown: rows of a table, and pictures.

    python -m benchmarks.fps

draws ``benchmarks/results/throughput-<artifact>-<host>.png`` beside each committed result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.entry import RESULTS

HEADINGS = {
    "frame_size": "frame", "network": "the network sees", "batch": "batch", "run_by": "run by",
    "precision": "precision", "calls": "calls", "engine_fps": "graphs alone, FPS", "frame_fps": "frame to result, FPS",
    "file_fps": "JPEG to result, FPS",
    "p50": "p50 ms", "p95": "p95 ms", "p99": "p99 ms", "speedup": "× eager torch", "reached": "of the bound",
    "accounted": "told by stages", "peak": "peak MiB", "device": "GPU MiB",
}  # fmt: skip
STREAMS = {
    "frame_size": "frame", "network": "the network sees", "run_by": "run by", "precision": "precision",
    "frames": "frames", "stream_fps": "video file to JSON, FPS", "p50": "p50 ms", "p95": "p95 ms", "p99": "p99 ms",
    "peak": "peak MiB",
}  # fmt: skip
Row = Mapping[str, Any]
OF_TORCH = "-torch"
"""End of the host's name in a result that holds PyTorch's rows alone: :mod:`benchmarks.gpu` races them apart."""


def rows(result: Row, beside: Sequence[Row] = ()) -> Iterator[dict[str, object]]:
    """Rows of the table: small frames first, the fastest last. PyTorch's may stand ``beside`` them."""
    for row in sorted(result["rows"], key=lambda row: (*_setting(row), row["frame"]["fps"])):
        base = _base([*result["rows"], *beside], row)
        yield {
            **_named(row),
            "batch": row["batch"],
            "calls": row["frame"]["calls"],
            "engine_fps": row["engine"] and float(row["engine"]["fps"]),
            "frame_fps": float(row["frame"]["fps"]),
            "file_fps": row["file"] and float(row["file"]["fps"]),
            **{name: float(row["frame"][f"{name}_ms"]) for name in ("p50", "p95", "p99")},
            "speedup": base and f"{row['frame']['fps'] / base['frame']['fps']:.1f}",
            "reached": None if row["reached"] is None else f"{row['reached']:.0%}",
            "accounted": None if row["accounted"] is None else f"{row['accounted']:.1%}",
            "peak": row["peak_rss_mib"],
            "device": row["device_mib"],
        }


def beside(result: Row, results: Iterable[Row]) -> list[Row]:
    """Rows of PyTorch on the same machine, of a result of their own."""
    whose = (result["model"], f"{result['host']}{OF_TORCH}")
    return [row for other in results if (other["model"], other["host"]) == whose for row in other["rows"]]


def streams(result: Row) -> Iterator[dict[str, object]]:
    """Rows of the table of streams."""
    for row in result["streams"]:
        if "failed" not in row:
            figures = {name: row[f"{name}_ms"] for name in ("p50", "p95", "p99")}
            named = {**_named(row), "frames": row["analysed"]}
            yield {**named, "stream_fps": row["fps"], **figures, "peak": row["peak_rss_mib"]}


def remarks(result: Row) -> Iterator[str]:
    """What did not run, was not asked to, or did not add up, and why."""
    for name, why in result["absent"].items():
        yield f"Not run: {name} ({why})."
    for row in result["streams"]:
        if "failed" in row:
            frame = f"{row['width']}x{row['height']}, analysed as {row['network_width']}x{row['network_height']}"
            yield f"Not run: {row['run_by']} {row['precision']} at {frame} ({row['failed']})."
    if result.get("left_out"):
        yield f"Left out of this measurement: {', '.join(result['left_out'])}."
    for name in result["unaccounted"]:
        yield f"Not told by stages: {name}."


def _named(row: Row) -> dict[str, object]:
    return {
        "frame_size": f"{row['width']}x{row['height']}",
        "network": f"{row['network_width']}x{row['network_height']}",
        "run_by": row["run_by"],
        "precision": row["precision"],
    }


def _setting(row: Row) -> tuple[int, ...]:
    return row["network_height"] * row["network_width"], row["height"] * row["width"], row["batch"]


def _base(rows: Iterable[Row], row: Row) -> Row | None:
    """Eager torch in the same setting: in the same precision where it ran, else in f32."""
    same = [one for one in rows if one["run_by"] == "eager torch" and _setting(one) == _setting(row)]
    by_precision = {one["precision"]: one for one in same}
    return by_precision.get(row["precision"]) or by_precision.get("f32")


def draw(result: Row, path: Path) -> Path:
    """FPS over the size that the network sees, and percentiles of the latency at the largest, one frame a call."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    over, within = figure.subplots(1, 2)
    alone = [row for row in result["rows"] if row["batch"] == 1]
    largest = max((_setting(row) for row in alone), default=())
    names = sorted({(row["run_by"], row["precision"]) for row in alone})
    for place, (run_by, precision) in enumerate(names):
        mine = sorted((row for row in alone if (row["run_by"], row["precision"]) == (run_by, precision)), key=_setting)
        (line,) = over.plot(
            list(map(_megapixels, mine)), [row["frame"]["fps"] for row in mine], "o-", label=f"{run_by} {precision}"
        )
        for row in mine:
            if _setting(row) == largest:
                times = [row["frame"][f"{name}_ms"] for name in ("p50", "p95", "p99")]
                within.plot(times, [place] * 3, "-", color=line.get_color())
                for ms, mark in zip(times, "o|x", strict=True):
                    within.plot([ms], [place], mark, color=line.get_color())
    over.set(xlabel="frame that the network sees, px", ylabel="frames per second", xscale="log", yscale="log")
    seen = {f"{row['network_width']}x{row['network_height']}": _megapixels(row) for row in alone}
    over.set_xticks(list(seen.values()), list(seen), fontsize="small")
    over.minorticks_off()
    over.legend(fontsize="small")
    shown = max(seen, key=seen.__getitem__, default="none")
    within.set(xlabel=f"ms a frame that it sees at {shown}: o p50, | p95, x p99", yticks=range(len(names)))
    within.set_xlim(left=0)
    within.set_yticklabels([" ".join(name) for name in names], fontsize="small")
    figure.suptitle(f"{result['model']} {result['version']} on {result['device']}, frame in host memory to result")
    figure.savefig(path, dpi=110)
    return path


def _megapixels(row: Row) -> float:
    return float(row["network_height"] * row["network_width"] / 1e6)


def main() -> None:
    """Draw every committed result of more than one size: one point is no curve."""
    argparse.ArgumentParser(prog="python -m benchmarks.fps", description=main.__doc__).parse_args()
    for file in sorted(RESULTS.glob("throughput-*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if len({_megapixels(row) for row in result["rows"]}) > 1:
            print(draw(result, file.with_suffix(".png")))


if __name__ == "__main__":
    main()
