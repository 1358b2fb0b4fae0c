"""Whether an ensemble earns its place: its figures beside those of each model that it asks, on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sdk
from sdk import artifact, members
from sdk.ensemble import Ensemble
from sdk.inputs import Input
from training.synthesis.sample import Frame

FIGURES = ("pixel_auc", "image_auc")


def of(path: Path) -> list[str]:
    """Names of the models that the artifact at ``path`` asks; none of a single model."""
    if not (path / artifact.MEMBERS).is_file():
        return []
    return [member.name for member in members.read(artifact.read(path)).members]


def places(path: Path) -> list[str]:
    """The same as ``sdk.load`` takes them: beside the artifact, or as they ship."""
    return [str(path.parent / name) if (path.parent / name).is_dir() else name for name in of(path)]


def remember(analyzer: sdk.Analyzer, last: dict[object, tuple[Frame, list[sdk.Analysis]]]) -> None:
    """Let a model, and those that an ensemble asks, give the answer in ``last`` where the frame is the same.

    An ensemble and its models are then asked about every image once, by whoever comes first. What the answers took is
    not told truly any more.
    """
    if isinstance(analyzer, Ensemble):
        for one in analyzer.analyzers.values():
            remember(one, last)
        return
    plain, key = analyzer.analyze_batch, (analyzer.artifact.digest, analyzer.working_size)

    def remembered(sources: Sequence[Frame | Input], **settings: object) -> list[sdk.Analysis]:
        (source,) = sources
        frame = source.frame if isinstance(source, Input) else source
        if key not in last or not np.array_equal(last[key][0], frame):
            last[key] = frame, plain([source], **{**settings, "min_score": 0.0})
        return last[key][1]

    analyzer.analyze_batch = remembered


def best(result: Mapping[str, Any], model: str) -> dict[str, object]:
    """By protocol, set and figure: the best single model, how far ``model`` is above it, and whether surely so.

    The difference is paired, on the same resamples of the same images; ``beats`` is whether its 95 % interval lies
    above zero. The best one is chosen by its value on these very images, which favours it.
    """
    artifacts = {name: told for name, told in result["predictors"].items() if told["kind"] == "artifact"}
    others = [name for name, told in artifacts.items() if name != model and not told["asks"]]
    if not others:
        return {}
    return {
        protocol: {group: _by_figure(table, result["paired"][protocol][group], others) for group, table in sets.items()}
        for protocol, sets in result["figures"].items()
    }


def _by_figure(table: Mapping[str, Any], paired: Mapping[str, Any], others: list[str]) -> dict[str, object]:
    found = {}
    for figure in FIGURES:
        known = [name for name in others if table[name].get(figure, {}).get("value") is not None]
        if known and figure in paired:
            name = max(known, key=lambda other, figure=figure: table[other][figure]["value"])
            gap = paired[figure][name]
            found[figure] = {"single": name, "value": table[name][figure]["value"], **gap, "beats": gap["low"] > 0}
    return found
