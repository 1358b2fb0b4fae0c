"""The tables of README and of the pages in docs, written from committed results: no figure is typed by hand.

    python -m benchmarks.table [--check]

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; everything between them is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import decoders as decoding
from benchmarks import fps, gpu_floors, operator_table, speed
from sdk import artifact as artifacts
from sdk.artifact import Artifact

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
PAGES = (ROOT / "README.md", *(ROOT / "docs" / name for name in ("gpu.md", "results.md", "several-models.md")))
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
Row = Mapping[str, Any]


def markdown(headings: Mapping[str, str], rows: Iterable[Row]) -> str:
    """Rows under headings (key to title); numbers to the right, a dash for what was not measured."""
    cells = [[_cell(row.get(key)) for key in headings] for row in rows]
    rules = ["--:" if any(map(_is_number, column)) else "---" for column in zip(*cells, strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [list(headings.values()), rules, *cells])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-\d.,e]+", text) is not None


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if abs(value) < 1e-2:
        return f"{value:.0e}" if value else "0"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def results(kind: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Every committed result of a kind, by file name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [result for result in found if result["kind"] == kind]


def latency(folder: Path = RESULTS) -> str:
    """Time and error side by side, so that neither can be quoted alone."""
    headings = {
        "frame": "frame", "contender": "run by", "precision": "precision", "median_ms": "median ms", "iqr_ms": "IQR ms",
        "cpu_ms": "CPU ms", "speedup": "× eager torch", "peak_rss_mib": "peak MiB",
        "max_abs_heatmap": "largest difference of the heatmap", "abs_score": "difference of the score",
    }  # fmt: skip
    parts = []
    for result in results("latency", folder):
        rows = sorted(result["rows"], key=lambda row: (row["height"] * row["width"], -row["median_ms"]))
        shown = [row | {"frame": f"{row['width']}x{row['height']}", "speedup": _times(row)} for row in rows]
        absent = "".join(f"Not run: {name} ({why}).\n" for name, why in result["absent"].items())
        if result.get("left_out"):
            absent += f"Left out of this measurement: {', '.join(result['left_out'])}.\n"
        what = f"one frame per call, median of {result['protocol']['rounds']} interleaved rounds"
        parts += [f"{_caption(result, what)}\n\n{markdown(headings, shown)}", _savings(shown), absent]
    return "\n".join(part for part in parts if part)


def times(folder: Path = RESULTS) -> str:
    """The SDK through OpenVINO beside PyTorch and the runtime alone: :func:`latency` in short.

    Without the precisions that the weights of a model that ships are not allowed by now.
    """
    headings = {
        "model": "model", "frame": "frame", "precision": "precision", "ms": "ms a frame", "speedup": "× eager PyTorch",
        "plain": "OpenVINO alone, ms",
    }  # fmt: skip
    rows = []
    shipped = {artifact.contract.name: artifact.contract.precisions for artifact in _shipped()}
    for result in results("latency", folder):
        allowed = shipped.get(result["model"])
        found = {(row["contender"], row["precision"], row["height"], row["width"]): row for row in result["rows"]}
        for (contender, *which), row in sorted(found.items(), key=lambda item: (item[0][2:], item[0][1] == "bf16")):
            if contender == "imdl openvino" and (allowed is None or row["precision"] in allowed):
                plain = found.get(("plain openvino", *which), {}).get("median_ms")
                shown = {"ms": f"{row['median_ms']:,.0f}", "plain": plain and f"{plain:,.0f}", "speedup": _times(row)}
                frame = {"frame": f"{row['width']}x{row['height']}", "precision": row["precision"]}
                rows.append({"model": f"`{result['model']}`"} | frame | shown)
    return markdown(headings, rows) if rows else ""


def _times(row: Row) -> str | None:
    return None if row.get("speedup") is None else f"{row['speedup']:.1f}"


def _savings(rows: Iterable[Row]) -> str:
    """What stopping at the score saves, beside the share of the work that it leaves out."""
    headings = {"frame": "frame", "precision": "precision", "saved": "saved by stopping at the score", "most": "bound"}
    shown = [
        {**row, "saved": f"{row['saved']:.1%}", "most": _percent(row.get("saved_at_most"))}
        for row in rows
        if row.get("saved") is not None
    ]
    return markdown(headings, shown) if shown else ""


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def _caption(result: Mapping[str, Any], what: str) -> str:
    machine, protocol = result["provenance"], result["protocol"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"`{result['model']}` {result['version']} ({result['status']}), {protocol['threads']} threads, {what}; "
        f"{machine['cpu']}, {machine['cores']} cores; "
        f"{packages}; commit {machine['commit']}, {machine['date']}."
    )


def floors(folder: Path = RESULTS) -> str:
    """What speed and memory are asked, what was reached, and what bounds it."""
    headings = {
        "model": "model", "what": "what", "needed": "asked", "found": "found", "verdict": "so",
        "runtime": "the runtime alone", "bound": "this machine at most",
    }  # fmt: skip
    rows = [
        {"model": f"`{result['model']}`", "what": floor.what, "verdict": floor.verdict, **_figures(floor)}
        for kind, of in (("latency", speed.of_latency), ("memory", speed.of_memory))
        for result in results(kind, folder)
        if result["model"] in speed.MODELS[kind]
        for floor in of(result)
    ]
    raced = results("throughput", folder)
    rows += [
        {"model": f"`{result['model']}`", "what": floor.what, "verdict": floor.verdict, **_figures(floor)}
        for result in raced
        if not result["host"].endswith(fps.OF_TORCH)
        for floor in gpu_floors.of(result, beside=fps.beside(result, raced))
    ]
    return markdown(headings, rows) if rows else ""


def _figures(floor: speed.Floor) -> dict[str, str | None]:
    """Its figures with three digits, or as many more as an integer has."""
    figures = {name: getattr(floor, name) for name in ("needed", "found", "runtime", "bound")}
    return {name: value and (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") for name, value in figures.items()}


def throughput(folder: Path = RESULTS) -> str:
    """Frames per second three ways, the stream's, and what the device was seen to do."""
    parts = []
    raced = results("throughput", folder)
    for result in raced:
        what = f"median of all calls of {result['protocol']['rounds']} interleaved rounds, on {result['device']}"
        shown = markdown(fps.HEADINGS, fps.rows(result, fps.beside(result, raced)))
        parts += [f"{_caption(result, what)} {_rates(result)}\n\n{shown}"]
        picture = f"{result['kind']}-{result['model']}-{result['host']}.png"
        if (folder / picture).is_file():
            parts += [f"![FPS over frame size, percentiles of the latency](../benchmarks/results/{picture})\n"]
        if result["streams"]:
            parts += [markdown(fps.STREAMS, fps.streams(result))]
        parts += ["".join(f"{remark}\n" for remark in fps.remarks(result))]
    return "\n".join(part for part in parts if part)


def _rates(result: Row) -> str:
    """What the bound is made of."""
    seen = ", ".join(
        f"{name} {found['flops_per_s'] / 1e12:.3g} TFLOP/s and {found['bytes_per_s'] / 1e9:.3g} GB/s"
        for name, found in result["rates"].items()
    )
    return f"Bound by a matrix product and a copy on this machine: {seen}."


WHERE = {"cpu": "processor", "commit": "commit"}


def _where(result: Mapping[str, Any]) -> dict[str, object]:
    return {name: result["provenance"][name] for name in WHERE}


def steady(folder: Path = RESULTS) -> str:
    """Memory of a long stream."""
    headings = {
        "model": "model", "analysed": "frames", "working_size": "analysed at, px", "fps": "FPS",
        "quarters": "median MiB held in each quarter", "growth_mib": "last less second, MiB",
        "peak_rss_mib": "peak MiB", **WHERE,
    }  # fmt: skip
    rows = [
        {
            **result,
            **_where(result),
            "model": f"`{result['model']}`",
            "quarters": ", ".join(f"{one:.0f}" for one in result["quarters_mib"]),
        }
        for result in results("steady", folder)
    ]
    return markdown(headings, rows) if rows else ""


def memory(folder: Path = RESULTS) -> str:
    """What a fresh process takes."""
    headings = {
        "model": "model", "import_s": "import sdk, s", "first_analysis_s": "load and first analysis at 512, s",
        "analyze_1080p_native_peak_rss_mib": "peak memory of `imdl analyze`, 1080p at native size, MiB",
        "analyze_24mp_native_peak_rss_mib": "the same, 24 megapixels",
        "analyze_8k_native_peak_rss_mib": "7680x4320", "analyze_8k_native_s": "7680x4320, s", "precision": "precision",
        **WHERE,
    }  # fmt: skip
    rows = [{**result, **_where(result), "model": f"`{result['model']}`"} for result in results("memory", folder)]
    return markdown(headings, rows) if rows else ""


def service(folder: Path = RESULTS) -> str:
    """What HTTP, queue and record cost beside the bare Analyzer."""
    headings = {
        "model": "model", "cpu": "processor", "connections": "uploads at once", "contender": "asked",
        "calls": "uploads", "p50_ms": "p50, ms", "p95_ms": "p95, ms", "p99_ms": "p99, ms", "per_s": "a second",
        "added": "added to p50, ms", "lost": "taken of the throughput",
    }  # fmt: skip
    rows = []
    for result in results("service", folder):
        costs = {cost["connections"]: cost for cost in result["costs"]}
        for row in result["rows"]:
            times = {key: f"{row[key]:,.1f}" for key in ("p50_ms", "p95_ms", "p99_ms", "per_s")}
            cost = costs[row["connections"]] if row["contender"] == "service" else None
            shown = cost and {"added": f"{cost['p50_added_ms']:.1f}", "lost": f"{cost['throughput_lost']:.1%}"}
            of = {"model": f"`{result['model']}`", "cpu": result["provenance"]["cpu"]}
            rows.append({**row, **times, **of, **(shown or {})})
    return markdown(headings, rows) if rows else ""


def hostile(folder: Path = RESULTS) -> str:
    """What thousands of damaged and awkward files did to the service."""
    headings = {
        "model": "model", "uploads": "uploads", "analysed": "analysed", "refused": "refused as a file",
        "unexpected": "without a proper answer", "decoders_lost": "decoders lost", "service_restarts": "service ended",
        "peak": "peak MiB, all processes", "slowest": "slowest answer, s",
    }  # fmt: skip
    rows = [
        {
            **result,
            "model": f"`{result['model']}`",
            "analysed": sum(result["outcomes"].get(action, 0) for action in ("pass", "review", "block")),
            "refused": sum(count for name, count in result["outcomes"].items() if name[0].isupper()),
            "unexpected": len(result["unexpected"]),
            "peak": f"{result['memory_mib']['peak']:,.0f}",
            "slowest": f"{result['slowest']['seconds']:.1f}",
        }
        for result in results("hostile", folder)
    ]
    return markdown(headings, rows) if rows else ""


def kernels(folder: Path = RESULTS) -> str:
    """Every way to compute an operator, beside ours and what the machine allows; below, what was asked."""
    parts = []
    for result in results("kernels", folder):
        table = markdown(operator_table.headings(result), operator_table.rows(result))
        absent = "".join(f"{sentence}\n" for sentence in operator_table.absent(result))
        asked = [
            floor._asdict() | {"verdict": floor.verdict} | _figures(floor) for floor in operator_table.asked(result)
        ]
        floors = markdown(operator_table.ASKED, asked) if asked else ""
        parts += [f"{operator_table.caption(result)}\n\n{table}", absent, floors]
    return "\n".join(part for part in parts if part)


def decoders(folder: Path = RESULTS) -> str:
    """What other decoders make of the same files."""
    found = results("decoders", folder)
    return "\n".join(f"{markdown(decoding.HEADINGS, decoding.rows(one))}\n{decoding.caption(one)}\n" for one in found)


def accuracy(folder: Path = RESULTS) -> str:
    """How well a model does on each set, with the number of frames behind every figure."""
    headings = {
        "model": "model", "set": "set", "manipulated": "manipulated", "authentic": "authentic",
        "image_auc": "image AUC", "image_auc_reencoded": "image AUC, all encoded anew",
        "tpr_at_fpr_5": "found at 5 % false alarms", "authentic_flagged": "authentic frames flagged",
        "pixel_auc": "pixel AUC", "interval": "95 % interval", "pixel_auc_centre": "pixel AUC of a centre guess",
        "pixel_f1": "pixel F1",
    }  # fmt: skip
    protocols: dict[str, list[Row]] = {}
    for result in results("accuracy", folder):
        name = f"`{result['model']}` {result['version']}"
        shown = [{"model": name, "interval": _interval(row.get("pixel_auc_interval"))} | row for row in result["rows"]]
        protocols.setdefault(result["protocol"], []).extend(shown)
    return "\n".join(f"{markdown(headings, rows)}\n{protocol}\n" for protocol, rows in protocols.items())


def _interval(bounds: list[float] | None) -> str | None:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else None


def cascade(folder: Path = RESULTS) -> str:
    """What asking fewer models saves, and what that costs."""
    headings = {
        "band": "scores that go on", "further": "frames that do", "ms": "ms a frame", "pixel": "pixel AUC",
        "pixel_interval": "95 % interval", "image": "image AUC", "image_interval": "95 % interval of it",
    }  # fmt: skip
    return markdown(headings, (_band(row) for result in results("cascade", folder) for row in result["rows"]))


def _band(row: Row) -> dict[str, object]:
    low, high = row["band"]
    pixel, image = row["pixel_auc"], row["image_auc"]
    return {
        "band": f"{low:.2f} to {high:.2f}" + (", as fitted" if row["own"] else ""),
        "further": _percent(list(row["asked"].values())[1]),
        "ms": row["mean_ms"],
        "pixel": f"{pixel['value']:.3f}",
        "pixel_interval": _interval([pixel["low"], pixel["high"]]),
        "image": f"{image['value']:.3f}",
        "image_interval": _interval([image["low"], image["high"]]),
    }


def models(_: Path = RESULTS) -> str:
    """The artifacts that ship."""
    headings = {
        "name": "model", "status": "status", "architecture": "architecture", "size": "weights, MB",
        "working_size": "analysed at", "precisions": "precisions", "licence": "licence", "commercial": "commercial use",
    }  # fmt: skip
    shipped = _shipped()
    return markdown(headings, map(_model, shipped)) if shipped else ""


def _shipped() -> list[Artifact]:
    return [artifacts.read(artifacts.find(name)) for name in artifacts.models()]


def _model(artifact: Artifact) -> Row:
    """One artifact; fp16 in its contract is evidence for engines to come, no backend runs it yet."""
    terms = artifact.contract
    return {
        "name": f"`{terms.name}` {terms.version}",
        "status": terms.status,
        "architecture": terms.model,
        "size": f"{(artifact.path / 'weights.bin').stat().st_size / 1e6:.1f}",
        "working_size": f"{terms.working_size} px" if terms.working_size else "the frame's own size",
        "precisions": ", ".join(name for name in terms.precisions if name != "fp16"),
        "licence": terms.licence,
        "commercial": "yes" if terms.commercial_use else "no",
    }


TABLES: Mapping[str, Callable[[Path], str]] = {
    "latency": latency, "times": times, "floors": floors, "throughput": throughput, "steady": steady, "memory": memory,
    "service": service, "hostile": hostile, "kernels": kernels, "accuracy": accuracy, "cascade": cascade,
    "decoders": decoders, "models": models,
}  # fmt: skip


def filled(text: str, folder: Path = RESULTS) -> str:
    """``text`` with every table written anew."""

    def replaced(place: re.Match[str]) -> str:
        table = TABLES[place[2]](folder) or "Not measured yet.\n"
        return f"{place[1]}{table}{place[3]}"

    return PLACE.sub(replaced, text)


def main() -> int:
    """Fill the pages' tables; with ``--check`` only tell whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=main.__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    stale = {page: fresh for page, text in texts.items() if (fresh := filled(text)) != text}
    if options.check:
        for page in stale:
            print(f"{page.relative_to(ROOT)}: tables differ from the results\n  -> python -m benchmarks.table")
        return int(bool(stale))
    for page, fresh in stale.items():
        page.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
