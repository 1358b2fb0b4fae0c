"""Robustness and sensitivity as curves: a panel for each distortion or operation, a picture for each set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.distortions import FAMILIES

COLOURS = {"pixel_auc": "#0b6", "image_auc": "#36c"}
NEUTRAL = {"resize": 1.0, "blur": 1.0, "noise": 0.0, "shrink": 1.0, "smooth edges": 1.0}
"""Parameter of a family that changes nothing; JPEG and manipulations have none."""
COLUMNS = 4
"""Panels side by side."""
Row = Mapping[str, object]


def write(
    folder: Path,
    curves: Mapping[str, Mapping[str, Sequence[Row]]],
    *,
    name: str = "robustness",
    families: Mapping[str, str] = FAMILIES,
) -> list[Path]:
    """One ``NAME-SET.png`` for each set, a panel for each of ``families`` (with the parameter's meaning); the files."""
    return [
        _picture(folder / f"{name}-{_file(group)}.png", group, rows, families) for group, rows in curves["rows"].items()
    ]


def _file(group: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in group)


def _picture(target: Path, group: str, rows: Sequence[Row], families: Mapping[str, str]) -> Path:
    columns = min(len(families), COLUMNS)
    lines = -(-len(families) // columns)
    figure = Figure(figsize=(3 * columns, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for panel in panels[len(families) :]:
        panel.set_axis_off()
    for panel, (family, parameter) in zip(panels, families.items(), strict=False):
        _panel(panel, family, rows)
        panel.set_xlabel(f"{family}: {parameter}")
    panels[0].set_ylabel("AUC, 95 % interval")
    if drawn := [panel for panel in panels if panel.lines]:
        drawn[0].legend(fontsize=8, loc="lower left")
    mixed = next((row["pixel_auc"]["value"] for row in rows if row["family"] == "mixed" and "pixel_auc" in row), None)
    figure.suptitle(group if mixed is None else f"{group} (all four mixed: pixel AUC {mixed:.3f})")
    figure.savefig(target, dpi=110)
    return target


def _panel(panel: Axes, family: str, rows: Sequence[Row]) -> None:
    mine = sorted((row for row in rows if row["family"] == family), key=lambda row: row["parameter"])
    intact = next((row for row in rows if row["family"] == "none"), {})
    for name, colour in COLOURS.items():
        points = [(row["parameter"], row[name]) for row in mine if name in row and row[name]["value"] is not None]
        if not points:
            continue
        if NEUTRAL.get(family) is not None and name in intact:
            points = sorted([*points, (NEUTRAL[family], intact[name])], key=lambda point: point[0])
        at = [parameter for parameter, _ in points]
        panel.plot(at, [figure["value"] for _, figure in points], "o-", color=colour, label=name.replace("_", " "))
        bounds = ([figure[end] for _, figure in points] for end in ("low", "high"))
        panel.fill_between(at, *bounds, color=colour, alpha=0.15)
        if name in intact:
            panel.axhline(intact[name]["value"], color=colour, linestyle=":", linewidth=1)
    panel.set_ylim(0.3, 1.0)
