"""The learning curve of a run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

PROGRESS = frozenset(("step", "samples", "minutes", "gradient", "rate", "images_per_second", "waiting"))
"""What a line on training holds beside the losses."""
COLOURS = 10
"""How many lines matplotlib tells apart."""


def plot(folder: Path) -> Path:
    """Losses and validation metrics of ``folder/log.jsonl`` over samples, as ``folder/curve.png``."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axes, keys in zip(figure.subplots(2, 1, sharex=True), _panels(lines), strict=True):
        for number, key in enumerate(keys):
            points = [(line["minutes"], line[key]) for line in lines if key in line]
            style = {"marker": "." if len(points) < 50 else "", "linestyle": "-" if number < COLOURS else ":"}
            axes.plot(*zip(*points, strict=True), label=key, **style)
        if keys:
            axes.legend(fontsize="x-small", ncols=1 + len(keys) // 6)
        axes.grid(alpha=0.3)
    figure.axes[0].set_yscale("symlog", linthresh=0.1)  # weighted losses differ by orders of magnitude, and some are 0
    axes.set_xlabel("minutes")
    figure.savefig(folder / "curve.png", dpi=120)
    return folder / "curve.png"


def _panels(lines: list[dict[str, float]]) -> tuple[list[str], list[str]]:
    losses = {key for line in lines if "rate" in line for key in line} - PROGRESS
    known = {key for line in lines for key in line}
    return (
        sorted(losses),
        [key for key in sorted(known) if key.startswith(("pixel_auc", "image_auc", "pixel_f1_best"))],
    )
