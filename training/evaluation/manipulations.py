"""How well ManTra-Net's extractor tells manipulations apart: accuracy by rank, level, family and operation.

Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 3: the share of patches whose manipulation is the likeliest
(table 4 by level of the hierarchy; here also among the 3, 5 and 10 likeliest). Patches are made of held-out
photographs, every manipulation as likely as any other, and are seen in float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training import checkpoints
from training.data import Photographs
from training.evaluation import report
from training.evaluation.items import SEED
from training.provenance import provenance
from training.recipes.mantranet import TOP, Patches, load_classifier, ranking
from training.synthesis.hierarchy import FAMILIES, LEAVES, LEVELS, classes

FAMILY = np.array([list(FAMILIES).index(leaf.family) for leaf in LEAVES])
OPERATIONS = list(dict.fromkeys(leaf.operation for leaf in LEAVES))
OPERATION = np.array([OPERATIONS.index(leaf.operation) for leaf in LEAVES])
Ranked = NDArray[np.int64]
"""The likeliest leaves in order, [n, 10]."""


def evaluate(file: Path, photographs: Path, *, count: int, size: int, device: str = "cpu") -> dict[str, object]:
    """Every accuracy on ``count`` patches of ``size`` px, in JSON types."""
    patches = Patches(Photographs(photographs, "validation"), seed=SEED, size=size)
    with torch.inference_mode():
        ranked, truth = ranking(load_classifier(file).eval().to(device), patches, count=count, bf16=False)
    return {
        "schema": 1,
        "kind": "manipulations",
        "provenance": provenance(),
        "checkpoint": {"model": checkpoints.read(file)["model"], "sha256": _digest(file)},
        "patches": {"count": count, "size": size, "seed": SEED, "photographs": report.listing(photographs)["sha256"]},
        **accuracies(ranked, truth),
    }


def accuracies(ranked: Ranked, truth: NDArray[np.int64]) -> dict[str, object]:
    """Shares with their 95 % intervals, and how often which family was taken for which."""
    confusion = np.zeros((len(FAMILIES),) * 2, np.int64)
    np.add.at(confusion, (FAMILY[truth], FAMILY[ranked[:, 0]]), 1)
    return {
        "top": _tops(ranked, truth),
        "levels": {
            str(level): {"classes": int(numbers.max()) + 1, **share(numbers[ranked[:, 0]] == numbers[truth])}
            for level, numbers in ((level, classes(level)) for level in range(LEVELS))
        },
        "families": _groups(ranked, truth, FAMILY, list(FAMILIES)),
        "operations": _groups(ranked, truth, OPERATION, OPERATIONS),
        "confusion": {"families": list(FAMILIES), "truth_by_answer": confusion.tolist()},
    }


def share(hits: NDArray[np.bool_]) -> dict[str, object]:
    """Share of hits with Wilson's 95 % interval."""
    count, z = len(hits), 1.959964
    p = float(hits.mean())
    middle, reach = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * reach) / (1 + z * z / count) for sign in (-1, 1))
    return {"value": round(p, 6), "low": round(max(low, 0.0), 6), "high": round(min(high, 1.0), 6), "images": count}


def _tops(ranked: Ranked, truth: NDArray[np.int64]) -> dict[str, object]:
    hits = ranked == truth[:, None]
    return {str(top): share(hits[:, :top].any(1)) for top in TOP}


def _groups(
    ranked: Ranked, truth: NDArray[np.int64], group: NDArray[np.int64], names: Sequence[str]
) -> dict[str, object]:
    """By true family or operation: the exact manipulation by rank, and whether the group was right."""
    found = {}
    for number, name in enumerate(names):
        mine = group[truth] == number
        if mine.any():
            right = group[ranked[mine, 0]] == number
            found[name] = {"top": _tops(ranked[mine], truth[mine]), "group": share(right)}
    return found


def table(result: Mapping[str, object]) -> str:
    """The same for a terminal."""
    head = [f"top {top:>2}     {report.cell_text(figure)}" for top, figure in result["top"].items()]
    levels = [
        f"level {level}    {report.cell_text(figure)} of {figure['classes']} classes"
        for level, figure in result["levels"].items()
    ]
    families = [
        f"{name:<14} family {report.cell_text(row['group'])}  exactly {report.cell_text(row['top']['1'])}"
        for name, row in result["families"].items()
    ]
    return "\n".join([f"{result['patches']['count']} patches", *head, "", *levels, "", *families])


def plot(result: Mapping[str, object], target: Path) -> Path:
    """Accuracy by level and by family, and families taken for each other, as one PNG."""
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    by_level, by_family, confused = figure.subplots(1, 3, width_ratios=(1, 1.4, 1.3))
    levels, families = result["levels"], result["families"]
    by_level.bar(*_bars(levels, [f"{name}\n{row['classes']}" for name, row in levels.items()]), color="#36c")
    by_level.set_xlabel("level, and its classes")
    by_level.set_ylabel("accuracy")
    for shift, (name, colour) in enumerate({"group": "#0b6", "1": "#36c", "5": "#9be"}.items()):
        rows = [row["group"] if name == "group" else row["top"][name] for row in families.values()]
        label = "family" if name == "group" else f"manipulation, top {name}"
        by_family.bar(
            np.arange(len(rows)) + 0.27 * (shift - 1), [row["value"] for row in rows], 0.27, color=colour, label=label
        )
    by_family.set_xticks(range(len(families)), list(families), rotation=40, ha="right")
    by_family.legend(fontsize=8)
    counts = np.array(result["confusion"]["truth_by_answer"], np.float64)
    confused.imshow(counts / counts.sum(1, keepdims=True).clip(min=1), vmin=0, vmax=1, cmap="viridis")
    names = result["confusion"]["families"]
    confused.set_xticks(range(len(names)), names, rotation=40, ha="right")
    confused.set_yticks(range(len(names)), names)
    confused.set_xlabel("answer (truth in rows)")
    for panel in (by_level, by_family):
        panel.set_ylim(0, 1)
    figure.suptitle(f"{result['checkpoint']['model']}, {result['patches']['count']} held-out patches")
    figure.savefig(target, dpi=110)
    return target


def _bars(rows: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> tuple[Sequence[str], list[float]]:
    return labels, [row["value"] for row in rows.values()]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
