"""What an ensemble and a cascade are worth, beside each of their models: fitted on one half, tried on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

import sdk
from export.ensembles import fit
from export.ensembles.answers import GRID, HALVES, SEED, Answers, Survey
from export.ensembles.fit import Fitted
from training import measure
from training.evaluation.figures import tables
from training.evaluation.items import Item
from training.evaluation.predictors import Answer
from training.evaluation.protocols import IMDL
from training.evaluation.run import paired, plain
from training.evaluation.tally import Record, recorded

PROTOCOL = replace(
    IMDL,
    name="other half",
    source="As imdl, on samples of held-out photographs; whatever was fitted was so on the photographs of the other "
    "half, which have no camera in common with those that a sample is made of.",
    pixel=("auc", "ap", "f1_own"),
    image=("auc", "ap", "tpr_at_5"),
    most_pixels=GRID,
)
GROUP = "synthetic"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Name and cuts of whoever answers, as records want them."""

    name: str
    mask_threshold: float
    score_thresholds: Mapping[str, float]


def held_out(survey: Survey, analyzers: Sequence[sdk.Analyzer], costs: NDArray[np.float64]) -> dict[str, object]:
    """Figures with intervals, paired differences, false positives, and how far the cascade went."""
    names = [analyzer.artifact.contract.name for analyzer in analyzers]
    records: dict[str, list[Record]] = {name: [] for name in ("ensemble", "cascade", *names)}
    flagged = {kind: {str(rate): [] for rate in measure.RATES} for kind in ("ensemble", "cascade")}
    asked: list[int] = []
    for half in HALVES:
        made, here = fit.both(survey.of(1 - half), costs), survey.of(half)
        for one in here.samples:
            for place, analyzer in enumerate(analyzers):
                records[names[place]].append(_alone(one, place, analyzer))
            for kind, fitted in made.items():
                records[kind].append(_together(one, kind, fitted))
            asked.append(made["cascade"].stage(one)[1].size)
        for kind, fitted in made.items():
            for rate, level in fitted.photographs.items():
                flagged[kind][rate] += [fitted.stage(one)[0] >= level for one in here.photographs]
    table = tables(records, PROTOCOL)
    return {
        "protocol": {"in_words": str(PROTOCOL), "source": PROTOCOL.source, "seed": SEED},
        "figures": plain(table)[GROUP],
        "paired": {kind: paired(table, kind)[GROUP] for kind in ("ensemble", "cascade")},
        "false_positives": {
            kind: {rate: share(hits) for rate, hits in rates.items()} for kind, rates in flagged.items()
        },
        "cascade": {
            "milliseconds": dict(zip(names, np.round(costs, 1).tolist(), strict=True)),
            "asked": {name: float(np.mean(np.array(asked) > place)) for place, name in enumerate(names)},
        },
    }


def _alone(one: Answers, place: int, analyzer: sdk.Analyzer) -> Record:
    terms = analyzer.artifact.contract
    judge = Judge(name=terms.name, mask_threshold=terms.mask_threshold, score_thresholds={})
    assert one.heatmaps is not None  # of samples they are kept
    return _record(one, Answer(one.heatmaps[place], float(one.scores[place])), judge)


def _together(one: Answers, kind: str, fitted: Fitted) -> Record:
    score, stage = fitted.stage(one)
    judge = Judge(name=kind, mask_threshold=fitted.mask_threshold, score_thresholds={})
    return _record(one, Answer(fit.heatmap(one, stage), score), judge)


def _record(one: Answers, answer: Answer, judge: Judge) -> Record:
    item = Item(one.name, lambda: (None, one.truth), group=GROUP, label=one.is_manipulated)
    return recorded(item, answer, one.truth, protocol=PROTOCOL, predictor=judge)


def share(hits: Sequence[bool]) -> dict[str, float]:
    """How many of how many, and Clopper and Pearson's 95 % interval of the share."""
    count, found = len(hits), int(np.sum(hits))
    return {
        "photographs": count,
        "flagged": found,
        "rate_low": float(beta.ppf(0.025, found, count - found + 1)) if found else 0.0,
        "rate_high": float(beta.ppf(0.975, found + 1, count - found)) if found < count else 1.0,
    }
