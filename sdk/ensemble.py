"""Ensemble: an Analyzer that asks several models and answers with one score, one heatmap and one verdict.

Its artifact has no graphs. What it asks, and how answers become one, stands in ``members.json`` (:mod:`sdk.members`);
its thresholds were measured for the combination and stand in its contract, as any model's.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk import artifact, backends, contract, members
from sdk.analyzer import Analyzer
from sdk.errors import ArtifactInvalid, BadSetting
from sdk.progress import of_model
from sdk.results import Latency, Member

if TYPE_CHECKING:
    from sdk.engines.resident import Keeper
    from sdk.inputs import Input
    from sdk.members import Stage
    from sdk.progress import Report
    from sdk.recipe import Recipe
    from sdk.results import Analysis

HARDLY = 1.0
"""A score that next to no frame reaches: a model that it is asked of does not localise."""


class Ensemble(Analyzer):
    """Several loaded artifacts that answer as one. Safe to share between threads, after a fork, and to pickle.

    A frame is localised by every model that is asked before its score is known, so ``min_score`` saves no time.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.terms = members.read(self.artifact)
        if self.working_size != self.artifact.contract.working_size:
            raise BadSetting(
                f"working_size is {self.working_size}, and {self.artifact.name} was fitted at its models' own",
                remedy="leave working_size=None, or load one model",
            )
        self.analyzers = {member.name: Analyzer(self._recipe(member)) for member in self.terms.members}
        """By name, in the order in which they run."""
        for member in self.terms.members:
            found = self.analyzers[member.name].artifact
            if found.digest != member.artifact:
                raise ArtifactInvalid(
                    f"{self.artifact.name} was made with another {member.name}: the SHA-256 of the one that is there "
                    f"is {found.digest}, not {member.artifact}",
                    remedy="make it again with the models that are there: python -m export ensemble",
                )

    def _recipe(self, member: members.Member) -> Recipe:
        beside = self.artifact.path.parent / member.name
        there = (beside / contract.FILE).is_file()
        model: str | Path = beside if there and beside.parent != artifact.SHIPPED else member.name
        own: Mapping[str, Any] = self.recipe.members.get(member.name, {})
        return dataclasses.replace(self.recipe, model=model, working_size=member.working_size, members={}, **own)

    def open(self) -> None:
        """Load every graph of every model now."""
        for analyzer in self.analyzers.values():
            analyzer.open()

    def warmup(self, height: int = 512, width: int = 512) -> None:
        """Analyse a grey frame of that size with every model."""
        for analyzer in self.analyzers.values():
            analyzer.warmup(height, width)

    def close(self) -> None:
        """Close every model. Idempotent."""
        for analyzer in self.analyzers.values():
            analyzer.close()
        super().close()

    @property
    def choice(self) -> backends.Choice:
        """What the models run on: their backends, "cpu" if one of them runs there, the coarsest precision."""
        self._check_open()
        return _joined({name: analyzer.choice for name, analyzer in self.analyzers.items()})

    @property
    def parallel(self) -> int:
        """How many frames are computed side by side: as many as every model takes."""
        return min(analyzer.parallel for analyzer in self.analyzers.values())

    def _keeper(self) -> Keeper | None:
        """The first model's, where every model takes frames on the GPU."""
        keepers = [analyzer._keeper() for analyzer in self.analyzers.values()]
        return keepers[0] if all(keepers) else None

    def _analyze(self, inputs: Sequence[Input], min_score: float, progress: Report | None) -> list[Analysis]:
        start = time.perf_counter()
        found: list[dict[str, Analysis]] = [{} for _ in inputs]
        ended: dict[int, tuple[float, Stage]] = {}
        stages: dict[str, float] = {}
        ran = 0
        for stage in self.terms.stages:
            asked = [index for index in range(len(inputs)) if index not in ended]
            if not asked:
                break
            for place in range(ran, stage.size):
                name, began = self.terms.members[place].name, time.perf_counter()
                answers = self.analyzers[name].analyze_batch(
                    [inputs[index] for index in asked],
                    min_score=0.0 if self.terms.localises(place) else HARDLY,
                    progress=of_model(name, progress),
                )
                for index, answer in zip(asked, answers, strict=True):
                    found[index][name] = answer
                stages[name] = 1e3 * (time.perf_counter() - began)
            ran = stage.size
            for index in asked:
                score = stage.score.of_scores([one.score for one in found[index].values()])
                if not stage.goes_on(score):
                    ended[index] = score, stage
        total = 1e3 * (time.perf_counter() - start)
        latency = Latency(stages, total, len(inputs))
        return [
            self._result_of(item, found[index], *ended[index], latency=latency, min_score=min_score)
            for index, item in enumerate(inputs)
        ]

    def _result_of(
        self,
        item: Input,
        found: dict[str, Analysis],
        score: float,
        stage: Stage,
        *,
        latency: Latency,
        min_score: float,
    ) -> Analysis:
        """One answer of those in ``found``, of the models that ran; ``latency`` is that of the batch."""
        start = time.perf_counter()
        first = next(iter(found.values()))
        heatmap = None
        if score >= min_score:
            heatmap = stage.heatmap.of_heatmaps([one.heatmap for one in found.values()], first.pixels.shape[:2])
        choice = _joined({name: self.analyzers[name].choice for name in found})
        precision = max((one.runtime.precision for one in found.values()), key=backends.PRECISIONS.index)
        verdict = self._verdict(score, item)
        ms = 1e3 * (time.perf_counter() - start)
        stages = {"decode": item.decode_ms, **{name: latency.stages[name] for name in found}, "result": ms}
        return dataclasses.replace(
            first,
            heatmap=heatmap,
            score=score,
            mask_threshold=self.artifact.contract.mask_threshold,
            verdict=verdict,
            latency=Latency(stages, item.decode_ms + latency.total + ms, latency.batch),
            runtime=self._runtime(item, choice, precision),
            members={name: Member(one.score, one.runtime) for name, one in found.items()},
        )


def _joined(choices: dict[str, backends.Choice]) -> backends.Choice:
    """One choice for several models; reasons against others by the model's name."""
    return backends.Choice(
        " and ".join(sorted({choice.backend for choice in choices.values()})),
        max((choice.device for choice in choices.values()), key=backends.DEVICES.index),
        max((choice.precision for choice in choices.values()), key=backends.PRECISIONS.index),
        {f"{who}, {name}": why for name, choice in choices.items() for who, why in choice.against.items()},
    )
