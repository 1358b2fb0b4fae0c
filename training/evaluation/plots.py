"""Robustness as curves: a panel for each kind of distortion, a picture for each set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.distortions import FAMILIES

COLOURS = {"pixel_auc": "#0b6", "image_auc": "#36c"}
NEUTRAL = {"resize": 1.0, "blur": 1.0, "noise": 0.0, "jpeg": None}
"""Parameter of a family that changes nothing; JPEG has none."""
Row = Mapping[str, object]


def write(folder: Path, robustness: Mapping[str, Mapping[str, Sequence[Row]]]) -> list[Path]:
    """One ``robustness-SET.png`` for each set; the files."""
    return [
        _picture(folder / f"robustness-{_file(group)}.png", group, rows) for group, rows in robustness["rows"].items()
    ]


def _file(group: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in group)


def _picture(target: Path, group: str, rows: Sequence[Row]) -> Path:
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    panels = figure.subplots(1, len(FAMILIES), sharey=True)
    for panel, family in zip(panels, FAMILIES, strict=True):
        _panel(panel, family, rows)
    panels[0].set_ylabel("AUC, 95 % interval")
    panels[0].legend(fontsize=8, loc="lower left")
    mixed = next((row["pixel_auc"]["value"] for row in rows if row["family"] == "mixed" and "pixel_auc" in row), None)
    figure.suptitle(group if mixed is None else f"{group} (all four mixed: pixel AUC {mixed:.3f})")
    figure.savefig(target, dpi=110)
    return target


def _panel(panel: Axes, family: str, rows: Sequence[Row]) -> None:
    mine = sorted((row for row in rows if row["family"] == family), key=lambda row: row["parameter"])
    intact = next(row for row in rows if row["family"] == "none")
    for name, colour in COLOURS.items():
        points = [(row["parameter"], row[name]) for row in mine if name in row and row[name]["value"] is not None]
        if not points or name not in intact:
            continue
        if NEUTRAL[family] is not None:
            points = sorted([*points, (NEUTRAL[family], intact[name])], key=lambda point: point[0])
        at = [parameter for parameter, _ in points]
        panel.plot(at, [figure["value"] for _, figure in points], "o-", color=colour, label=name.replace("_", " "))
        bounds = ([figure[end] for _, figure in points] for end in ("low", "high"))
        panel.fill_between(at, *bounds, color=colour, alpha=0.15)
        panel.axhline(intact[name]["value"], color=colour, linestyle=":", linewidth=1)
    panel.set_xlabel(f"{family}: {FAMILIES[family]}")
    panel.set_ylim(0.3, 1.0)
