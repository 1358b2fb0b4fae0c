"""Which models an ensemble asks and how their answers become one: the file ``members.json``, and its arithmetic.

A combination is logistic: with the answers ``p_i`` of the models that ran, of the frame or of one of its pixels,

    logit p = offset + sum_i weight_i logit p_i,      weight_i >= 0

A cascade is the same in several stages. Each asks further models and has combinations of its own for all that ran so
far; where its score lies outside its band, it is the answer and the rest is not asked.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.artifact import MEMBERS, Artifact
from sdk.contract import versioned
from sdk.errors import ArtifactInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
"""Raised by every change that an older reader would misunderstand."""
LARGEST = 14.0
"""Log odds beyond this, or below its negative, count as this: those of 0 and 1 are not finite."""

_REMEDY = "make it again with this version of imdl-sdk: python -m export ensemble"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One model."""

    name: str
    """Of its artifact, which lies beside the ensemble's or ships."""
    artifact: str
    """SHA-256 of its artifact, in hexadecimal: with other weights the combination means nothing."""
    working_size: int
    """Long side at which it analyses, px; 0 is the frame's own."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """Several probabilities to one."""

    offset: float
    weights: tuple[float, ...]
    """Of the models in the order in which they run."""

    def __post_init__(self) -> None:
        if not np.isfinite([self.offset, *self.weights]).all() or min(self.weights, default=0.0) < 0:
            raise ArtifactInvalid(f"weights of an ensemble are negative or no numbers: {self}", remedy=_REMEDY)

    def of_scores(self, scores: Sequence[float]) -> float:
        """The probability that ``scores``, one for each weight, come to."""
        total = self.offset + float(np.dot(self.weights, logit(np.asarray(scores, np.float64))))
        return float(expit(np.asarray(total)))

    def of_heatmaps(
        self, heatmaps: Sequence[NDArray[np.float32] | None], shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """The heatmap of ``shape`` that ``heatmaps`` come to; those without weight may be missing."""
        total = np.full(shape, self.offset, np.float32)
        for weight, heatmap in zip(self.weights, heatmaps, strict=True):
            if weight and heatmap is not None:
                total += np.float32(weight) * logit(heatmap)
        return expit(total)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Combinations of the first so many models."""

    score: Combination
    heatmap: Combination
    band: tuple[float, float] = (0.0, 0.0)
    """Scores in [low, high) are unsure and go to the next stage; empty in the last one, whose score stands."""

    @property
    def size(self) -> int:
        """How many models have run."""
        return len(self.score.weights)

    def goes_on(self, score: float) -> bool:
        """Whether the next stage is asked."""
        return self.band[0] <= score < self.band[1]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The content of ``members.json``."""

    schema_version: int = SCHEMA_VERSION
    members: tuple[Member, ...]
    """In the order in which they run."""
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        sizes = [stage.size for stage in self.stages]
        grows = all(a < b for a, b in itertools.pairwise([0, *sizes]))
        if not sizes or not grows or sizes[-1] != len(self.members) or self.stages[-1].goes_on(self.stages[-1].band[0]):
            raise ArtifactInvalid("the stages of an ensemble do not end with all of its models", remedy=_REMEDY)
        if any(len(stage.heatmap.weights) != stage.size for stage in self.stages):
            raise ArtifactInvalid("a stage of an ensemble weighs scores and heatmaps of other models", remedy=_REMEDY)
        if len({member.name for member in self.members}) < len(self.members):
            raise ArtifactInvalid("an ensemble asks one model twice", remedy=_REMEDY)

    def localises(self, index: int) -> bool:
        """Whether any stage uses the heatmap of the model at ``index``."""
        return any(stage.heatmap.weights[index] > 0 for stage in self.stages if index < stage.size)

    def to_json(self) -> str:
        """As text, stable from run to run."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Terms:
        """Read what :meth:`to_json` wrote; an unknown or missing key or a wrong type is an error."""
        return versioned(cls, text, where="members", version=SCHEMA_VERSION, remedy=_REMEDY)


def read(artifact: Artifact) -> Terms:
    """The terms of an ensemble; its contract has to vouch for the file."""
    if MEMBERS not in artifact.contract.sha256:
        raise ArtifactInvalid(f"the contract of {artifact.name} has no checksum of {MEMBERS}", remedy=_REMEDY)
    return Terms.from_json((artifact.path / MEMBERS).read_text(encoding="utf-8"))


def logit(probability: NDArray[Any]) -> NDArray[Any]:
    """Log odds in the type of ``probability``, finite."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(probability) - np.log1p(-probability), -LARGEST, LARGEST))


def expit(log_odds: NDArray[Any]) -> NDArray[Any]:
    """The probability of log odds, in their type; its own arithmetic, for what ships has no SciPy."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -80, 80))))  # exp(88) is the last that float32 holds
