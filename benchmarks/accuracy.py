"""How well an artifact does on real forgeries whose masks are known, set by set.

    python -m benchmarks.accuracy --data FOLDER [--artifact psccnet-lite]

``FOLDER`` holds ``SOURCES.csv`` with the columns ``file``, ``set``, ``role`` (authentic, tampered), ``mask`` and
``mask_target``; paths are relative to the folder above. Writes ``benchmarks/results/accuracy-<artifact>.json``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sdk
from benchmarks.provenance import provenance
from training import metrics

RESULTS = Path(__file__).with_name("results")
QUALITY = 90
"""JPEG quality of the control in which every image is encoded anew, so that compression tells nothing."""
PROTOCOL = (
    "Every set by itself, at the artifact's default working size, heatmaps at the frame's own size, none inverted. "
    "Pixel AUC per manipulated image, then the mean, 95 % bootstrap interval over images; F1 at the artifact's one "
    f"mask threshold. The control encodes every image anew at JPEG quality {QUALITY}. A centre guess is a map that "
    "falls off with the distance from the middle of the frame."
)


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a set."""

    path: Path
    mask: Path | None
    """White where manipulated; None if authentic."""


def sets(data: Path) -> dict[str, list[Item]]:
    """Images by set, as ``data/SOURCES.csv`` lists them; where copy and source are told apart, only the copy counts."""
    found: dict[str, list[Item]] = {}
    with (data / "SOURCES.csv").open(newline="", encoding="utf-8") as listing:
        for row in csv.DictReader(listing):
            mask = row["mask_target"] or row["mask"]
            root = data.parent
            found.setdefault(row["set"], []).append(Item(root / row["file"], root / mask if mask else None))
    return found


def judged(items: Iterable[Item], analyze: Callable[[object], sdk.Analysis]) -> dict[str, object]:
    """The row of one set."""
    scores, control, labels, flagged, pixel = [], [], [], [], []
    for item in items:
        analysis = analyze(item.path)
        scores.append(analysis.score)
        control.append(analyze(encoded_anew(item.path)).score)
        labels.append(item.mask is not None)
        if item.mask is None:
            flagged.append(analysis.verdict.found)
        else:
            pixel.append(_pixels(analysis, item.mask))
    table = np.array(pixel)
    return {
        "manipulated": int(np.sum(labels)),
        "authentic": len(labels) - int(np.sum(labels)),
        "image_auc": metrics.auc(scores, labels),
        "image_auc_reencoded": metrics.auc(control, labels),
        "tpr_at_fpr_5": metrics.tpr_at_fpr(scores, labels, fpr=0.05)[0],
        "authentic_flagged": float(np.mean(flagged)),
        "pixel_auc": float(table[:, 0].mean()),
        "pixel_auc_interval": bootstrap(table[:, 0]),
        "pixel_auc_centre": float(table[:, 2].mean()),
        "pixel_f1": float(table[:, 1].mean()),
    }


def _pixels(analysis: sdk.Analysis, file: Path) -> tuple[float, float, float]:
    """AUC, F1, and the AUC of a guess at the centre."""
    heatmap = analysis.heatmap
    height, width = heatmap.shape
    mask = cv2.resize(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_NEAREST)
    truth = mask > 127
    rows, columns = np.mgrid[:height, :width]
    centre = -np.hypot((rows - height / 2) / height, (columns - width / 2) / width)
    f1 = metrics.f1(heatmap, truth, threshold=analysis.mask_threshold)
    return metrics.auc(heatmap, truth), f1, metrics.auc(centre, truth)


def encoded_anew(path: Path) -> bytes:
    """The image as a JPEG of one quality, whatever it was."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def bootstrap(values: NDArray[np.float64], *, rounds: int = 2000) -> Sequence[float]:
    """95 % interval of the mean, images resampled."""
    means = np.random.default_rng(0).choice(values, (rounds, values.size)).mean(1)
    return [float(level) for level in np.quantile(means, (0.025, 0.975))]


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.csv")
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with sdk.load(options.artifact) as analyzer:
        terms, choice = analyzer.artifact.contract, analyzer.choice
        rows = [{"set": name} | judged(items, analyzer.analyze) for name, items in sets(options.data).items()]
        result = {
            "schema": 1,
            "kind": "accuracy",
            "model": terms.name,
            "version": terms.version,
            "status": terms.status,
            "artifact": analyzer.artifact.digest,
            "precision": choice.precision,
            "backend": choice.backend,
            "working_size": analyzer.working_size,
            "protocol": PROTOCOL,
            "provenance": provenance(),
            "rows": rows,
        }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"accuracy-{terms.name}.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
