"""One evaluation from end to end: every figure that a model has to answer for, as one JSON-able result."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.evaluation import clips as video
from training.evaluation.distortions import DISTORTIONS, POSTPROCESSING, Distortion
from training.evaluation.figures import Figure, better, figures, tables
from training.evaluation.items import Item
from training.evaluation.predictors import Predictor
from training.evaluation.protocols import IMDL, Protocol
from training.evaluation.sensitivity import Point
from training.evaluation.tally import Record, tally
from training.provenance import provenance

log = logging.getLogger(__name__)
Tables = dict[str, dict[str, dict[str, Figure]]]
SIZES = (0, 1024, 768, 512)
"""Working sizes that are compared, px; 0 is the frame's own."""
BANDS = (0.0, 0.01, 0.05, 0.2, 1.0)
"""Ends of the bands of a region's share of the frame."""
CURVES = replace(IMDL, pixel=("auc",), image=("auc", "f1_eer"))
"""What sensitivity, sizes and areas need, under our own rules otherwise."""
ATTACKED = replace(CURVES, pixel=(*CURVES.pixel, "f1_best_set", "f1_best_image", "mcc_best_set", "mcc_best_image"))
"""What robustness needs: beside areas the measures of GSR-Net's figure 5, each with either best threshold."""
PAIRED = ("pixel_auc", "pixel_ap", "pixel_f1_best_image", "image_auc")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be evaluated; ``predictors[0]`` is the model, the others stand beside it."""

    predictors: Sequence[Predictor]
    items: Sequence[Item]
    protocols: Sequence[Protocol] = (IMDL,)
    robustness: bool = False
    postprocessing: bool = False
    sensitivity: Iterable[Point] = ()
    large: Sequence[Item] = ()
    clips: Sequence[Path] = ()

    def __post_init__(self) -> None:
        names = [predictor.name for predictor in self.predictors]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two predictors are called {twice[0]}\n  -> leave one out, or rename the checkpoint")


def evaluate(task: Task) -> tuple[dict[str, object], dict[str, list[Record]]]:
    """The result, and the model's records by protocol for whoever wants to show single images.

    The histograms behind pooled figures, 32 KiB for each image and predictor, are let go with each protocol.
    """
    records, tabled, model = {}, {}, task.predictors[0]
    for protocol in task.protocols:
        log.info("protocol %s: %d images, %d predictors", protocol.name, len(task.items), len(task.predictors))
        found = tally(task.predictors, task.items, protocol)
        tabled[protocol.name] = tables(found, protocol)
        records[protocol.name] = [replace(record, positives=None, negatives=None) for record in found[model.name]]
    result = {
        "schema": 2,
        "kind": "accuracy",
        "provenance": provenance(),
        "predictors": {predictor.name: dict(predictor.identity) for predictor in task.predictors},
        "images": len(task.items),
        "protocols": {p.name: {"in_words": str(p), **p.to_dict()} for p in task.protocols},
        "figures": {name: plain(table) for name, table in tabled.items()},
        "paired": {name: paired(table, model.name) for name, table in tabled.items()},
    }
    if task.robustness:
        result["robustness"] = robustness(model, task.items)
    if task.postprocessing:
        result["postprocessing"] = robustness(model, task.items, POSTPROCESSING)
    if rows := [_at(model, point) for point in task.sensitivity]:
        result["sensitivity"] = {"protocol": {"in_words": str(CURVES), **CURVES.to_dict()}, "rows": {"patches": rows}}
    if task.large:
        result["large"] = by_size(model, task.large)
    if task.clips:
        log.info("clips: %d", len(task.clips))
        result["clips"] = {"crf": video.CRF, "rows": video.flagged(model, task.clips)}
    return result, records


def plain(table: Tables) -> dict[str, object]:
    """The same in JSON types."""
    return {
        group: {name: {k: figure.to_dict() for k, figure in mine.items()} for name, mine in predictors.items()}
        for group, predictors in table.items()
    }


def paired(table: Tables, model: str) -> dict[str, object]:
    """The model against every other predictor on the same resamples, by set and figure."""
    return {
        group: {
            key: {
                name: better(predictors[model][key], other[key])
                for name, other in predictors.items()
                if name != model and key in other
            }
            for key in PAIRED
            if key in predictors[model]
        }
        for group, predictors in table.items()
    }


def robustness(
    model: Predictor, items: Sequence[Item], distortions: Sequence[Distortion] = DISTORTIONS
) -> dict[str, object]:
    """By set, one row per distortion and one without; figures under :data:`ATTACKED`."""
    rows = {}
    for distortion in (None, *distortions):
        log.info("distortion: %s", distortion.name if distortion else "none")
        told = distortion.to_dict() if distortion else {"name": "none", "family": "none", "parameter": None}
        table = plain(tables(tally([model], items, ATTACKED, distortion), ATTACKED))
        for group, predictors in table.items():
            rows.setdefault(group, []).append({**told, **predictors[model.name]})
    return {"protocol": {"in_words": str(ATTACKED), **ATTACKED.to_dict()}, "rows": rows}


def _at(model: Predictor, point: Point) -> dict[str, object]:
    """One point of a sensitivity curve: the manipulation and its figures."""
    log.info("manipulation: %s", point.name)
    (table,) = plain(tables(tally([model], point.items, CURVES), CURVES)).values()
    return {**point.to_dict(), **table[model.name]}


def by_size(model: Predictor, items: Sequence[Item]) -> dict[str, object]:
    """By set, one row per working size: figures of all images and of those whose region lies in each band."""
    rows: dict[str, list[dict[str, object]]] = {}
    for size in SIZES:
        log.info("working size: %s, %d images", size or "native", len(items))
        protocol = replace(CURVES, working_size=size)
        records = tally([model], items, protocol)[model.name]
        for group in sorted({record.group for record in records}):
            mine = [record for record in records if record.group == group]
            rows.setdefault(group, []).append({"working_size": size, **_with_bands(mine, protocol)})
    return {"protocol": {"in_words": str(CURVES), **CURVES.to_dict()}, "bands": list(BANDS), "rows": rows}


def _with_bands(records: Sequence[Record], protocol: Protocol) -> dict[str, object]:
    bands: dict[str, object] = {}
    for low, high in itertools.pairwise(BANDS):
        inside = [record for record in records if record.positives is not None and low < record.area <= high]
        if inside:
            bands[f"{low:g} to {high:g}"] = figures(inside, protocol)["pixel_auc"].to_dict()
    return {**{k: f.to_dict() for k, f in figures(records, protocol).items()}, "pixel_auc_by_area": bands}
