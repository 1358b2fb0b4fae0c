"""Ensembles of toys: two artifacts of one network, whose answer is brightness, and one that asks both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sdk import artifact
from sdk.contract import Thresholds
from sdk.members import Combination, Member, Stage, Terms
from tests.sdk import toy

NAMES = ("first", "second")
SCORES = Combination(offset=-0.3, weights=(0.4, 0.9))
HEATMAPS = Combination(offset=0.2, weights=(0.5, 0.7))
WHOLE = (Stage(score=SCORES, heatmap=HEATMAPS),)


def cascade(band: tuple[float, float]) -> tuple[Stage, ...]:
    """The second model is asked where the first one's score lies in ``band``."""
    alone = Combination(offset=0.0, weights=(1.0,))
    return (Stage(score=alone, heatmap=alone, band=band), *WHOLE)


def build(folder: Path, stages: tuple[Stage, ...] = WHOLE, **changes: object) -> Path:
    """Write the two toys into ``folder``, and the ensemble, which is returned; ``changes`` are its contract's."""
    for name in NAMES:
        if not (folder / name).exists():
            toy.build(folder / name, name=name)
    digests = {name: artifact.read(folder / name).digest for name in NAMES}
    terms = Terms(
        members=tuple(Member(name=name, artifact=digests[name], working_size=0) for name in NAMES), stages=stages
    )
    target = folder / "both"
    target.mkdir(exist_ok=True)
    (target / artifact.MEMBERS).write_text(terms.to_json())
    thresholds = {"0": Thresholds(photographs={"0.01": 0.9, "0.05": 0.7})}
    given = {"name": "both", "graphs": {}, "plan": (), "thresholds": thresholds, "mask_threshold": 0.6}
    toy.seal(target, dataclasses.replace(toy.TERMS, **(given | changes)))
    return target
