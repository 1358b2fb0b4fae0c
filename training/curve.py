"""The learning curve of a run as a picture."""

from __future__ import annotations

import json
from pathlib import Path


def plot(folder: Path) -> Path:
    """Losses and validation metrics of ``folder/log.jsonl`` over samples, as ``folder/curve.png``."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axes, keys in zip(figure.subplots(2, 1, sharex=True), _panels(lines), strict=True):
        for key in keys:
            points = [(line["minutes"], line[key]) for line in lines if key in line]
            axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 50 else "")
        if keys:
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    axes.set_xlabel("minutes")
    figure.savefig(folder / "curve.png", dpi=120)
    return folder / "curve.png"


def _panels(lines: list[dict[str, float]]) -> tuple[list[str], list[str]]:
    known = {key for line in lines for key in line}
    return (
        [key for key in ("localisation", "detection") if key in known],
        [key for key in sorted(known) if key.startswith(("pixel_auc", "image_auc", "pixel_f1_best"))],
    )
