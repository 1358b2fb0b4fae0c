"""What becomes of a result: a table for people, JSON, a line in the log, an entry in the card."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from training.card import Card

HEADLINE = (
    "pixel_auc", "pixel_ap", "pixel_f1_fixed", "pixel_f1_own", "image_auc", "image_tpr_at_5",
    "image_flagged_authentic_at_1", "image_flagged_authentic_at_5",
)  # fmt: skip
"""What a log keeps of the protocols that report everything."""


def terminal(result: Mapping[str, object]) -> str:
    """One table per protocol and set: a row for each figure, a column for each predictor, the protocol above it."""
    parts = [_warned(result)]
    for name, sets in result["figures"].items():
        parts.append(f"== {result['protocols'][name]['in_words']}")
        parts += [_table(group, predictors) for group, predictors in sets.items()]
    return "\n".join([*parts, *map(_mark, result.get("marks", ()))])


def _mark(mark: Mapping[str, object]) -> str:
    found = "not measured" if mark["found"] is None else f"{mark['found']:.3f}"
    verdict = "reached" if mark["reached"] else "MISSED"
    return f"{verdict:8} {'floor' if mark['floor'] else 'goal '}  {mark['what']}: {found}, needed {mark['needed']:.3f}"


def _warned(result: Mapping[str, object]) -> str:
    machine = result["provenance"]
    changed = " with uncommitted changes" if machine["uncommitted_changes"] else ""
    return f"commit {machine['commit']}{changed}, {machine['date']}, {machine['cpu']}, {result['images']} images"


def _table(group: str, predictors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    figures = list(dict.fromkeys(name for mine in predictors.values() for name in mine))
    rows = [["figure", "images", *predictors]]
    for figure in figures:
        cells = [mine.get(figure) for mine in predictors.values()]
        images = next(cell["images"] for cell in cells if cell)
        rows.append([figure, str(images), *map(cell_text, cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", f"-- {group}", *lines])


def cell_text(figure: Mapping[str, float] | None) -> str:
    """``0.612 [0.571, 0.650]``; a dash for what was not asked or is not defined."""
    if figure is None or figure["value"] is None:
        return "-"
    bounds = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{bounds}"


def listing(data: Path) -> dict[str, object]:
    """Which images these were: the folder's name and the digest of its listing, or of its file names without one."""
    data = data.resolve()
    files = [data / name for name in ("SOURCES.csv", "images.csv") if (data / name).is_file()]
    names = "\n".join(sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()))
    content = files[0].read_bytes() if files else names.encode()
    return {"folder": data.name, "listing": files[0].name if files else "names", "sha256": _digest(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def headline(result: Mapping[str, object]) -> dict[str, object]:
    """What a log and a card keep of a run: the model's figures, each with value, interval and number of images.

    And which other weights saw the same images beside it.
    """
    model, *others = result["predictors"]
    digests = {name: result["predictors"][name].get("weights_sha256") for name in others}
    machine = result["provenance"]
    figures = {
        protocol: {group: _short(predictors[model]) for group, predictors in sets.items()}
        for protocol, sets in result["figures"].items()
    }
    return {
        **{key: machine[key] for key in ("date", "commit", "uncommitted_changes")},
        "model": model,
        **result["predictors"][model],
        "beside": {name: digest for name, digest in digests.items() if digest},
        "data": result.get("data"),
        "value_low_high_images": figures,
        "missed": [f"{mark['what']}: {mark['found']}" for mark in result.get("marks", ()) if not mark["reached"]],
    }


def _short(figures: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    kept = [key for key in HEADLINE if key in figures] or list(figures)
    return {key: [figures[key][part] for part in ("value", "low", "high", "images")] for key in kept}


def append(entry: Mapping[str, object], log: Path) -> None:
    """Add one line to the log of runs; no line is ever replaced."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(finite(entry)) + "\n")


def enter(entry: Mapping[str, object], file: Path) -> None:
    """Add the run to a card's figures, under ``runs``; the exporter carries them into the artifact."""
    card = Card.read(file)
    card.figures.setdefault("runs", []).append(finite(entry))
    card.write(file)


def finite(value: object) -> object:
    """``value`` with None for what is not a number, so that it is JSON anywhere."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
