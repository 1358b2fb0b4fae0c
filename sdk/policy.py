"""Policies: what is done with an upload, given what the models found. :mod:`sdk.policy_file` reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sdk.errors import BadSetting, UnknownName
from sdk.verdict import told

if TYPE_CHECKING:
    from sdk.contract import Contract
    from sdk.results import Analysis

Action = Literal["pass", "review", "block"]
"""``pass`` says that nothing was found that the policy acts on, never that a picture is authentic."""

SEVERE: tuple[Action, ...] = ("block", "review")
"""Actions that somebody notices, the most severe first."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score, or the share of authentic photographs that reach it; exactly one of them is given."""

    score: float | None = None
    false_alarms: float | None = None

    def level(self, rates: Mapping[str, float]) -> float:
        """The score from which it is reached, in [0, 1]; ``rates`` are an artifact's thresholds by share."""
        if self.score is not None:
            return self.score
        known = {float(rate): level for rate, level in rates.items()}
        if self.false_alarms not in known:
            raise BadSetting(
                f"the score that a share of {self.false_alarms} of authentic photographs reach was not measured",
                remedy=f"use one of {sorted(known)}, or give a score" if known else "give a score",
            )
        return known[self.false_alarms]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What leads to an action, for one content type."""

    review: Threshold | None = None
    block: Threshold | None = None
    minimum_area: float = 0.0
    """Share of the frame's pixels that the mask has to cover, in [0, 1]."""
    minimum_frames: float = 0.0
    """Of a video, the share of its frames that have to lead to an action, in [0, 1]; one at least."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one model's result, what a policy looks at."""

    score: float
    area: float | None
    """Share of the frame's pixels that are in the mask; None if the frame was not localised."""
    inconclusive: str
    """Why the score says nothing; empty if it does."""
    rates: Mapping[str, float]
    """Scores by the share of authentic photographs, or frames of video, that reach them at the size that was used."""

    @classmethod
    def of(cls, analysis: Analysis, contract: Contract, *, is_video: bool = False) -> Finding:
        """The finding in ``analysis``, made with the artifact of ``contract``; a frame of video has its own rates."""
        levels = contract.at(analysis.runtime.working_size)
        verdict = analysis.verdict
        return cls(
            score=analysis.score,
            area=analysis.mask_share,
            inconclusive=verdict.reason if verdict.name == "inconclusive" else "",
            rates={} if levels is None else levels.video if is_video else levels.photographs,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy does with an upload, and why."""

    action: Action
    content: str
    """Content type whose thresholds were used."""
    reasons: tuple[str, ...]
    """One sentence for each model that was heard, or for what kept it from being heard."""
    policy: Policy

    def to_dict(self) -> dict[str, object]:
        """Plain types, the policy by name, version and digest."""
        by = {"name": self.policy.name, "version": self.policy.version, "sha256": self.policy.sha256}
        return {"action": self.action, "content": self.content, "reasons": list(self.reasons), "policy": by}


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What is done with an upload."""

    name: str
    version: int
    sha256: str
    """Of the file's bytes, in hexadecimal: what ``sha256sum`` prints."""
    thresholds: Mapping[str, Thresholds]
    """By content type; ``default`` is always there."""
    models: tuple[str, ...] = ()
    """Models whose findings count; empty for all that are run."""
    agree: int = 1
    """How many of them have to reach a threshold."""
    inconclusive: Action = "review"
    unreadable: Action = "review"

    def decide(self, findings: Mapping[str, Finding], *, content: str = "default") -> Decision:
        """The action for an upload of type ``content`` whose ``findings`` come by model name."""
        limits = self.at(content)
        heard = self._heard(findings)
        telling = {name: finding for name, finding in heard.items() if not finding.inconclusive}
        for action in SEVERE:
            threshold: Threshold | None = getattr(limits, action)
            if threshold is None:
                continue
            votes = [_vote(name, each, threshold, limits.minimum_area) for name, each in telling.items()]
            if sum(reached for reached, _ in votes) >= self.agree:
                return Decision(action, content, tuple(why for _, why in votes), self)
        silent = [f"{name}: inconclusive, {each.inconclusive}" for name, each in heard.items() if each.inconclusive]
        if len(telling) < self.agree:
            return Decision(self.inconclusive, content, tuple(silent), self)
        said = [f"{name}: score {each.score:.3f} leads to nothing" for name, each in telling.items()]
        return Decision("pass", content, (*said, *silent), self)

    def refuse(self, problem: str, *, content: str = "default") -> Decision:
        """The action for an upload that cannot be analysed, because of ``problem``."""
        self.at(content)
        return Decision(self.unreadable, content, (problem,), self)

    def decide_video(self, frames: Mapping[Action, int], *, content: str = "default") -> Decision:
        """The action for a video of type ``content``; ``frames`` says how many would lead to each action by themselves.

        What leads to blocking leads to a review, too.
        """
        total, reached = sum(frames.values()), 0
        needed = max(1, math.ceil(self.at(content).minimum_frames * total - 1e-9))  # 0.1 of 70 is 7, not 8
        counted: list[str] = []
        for action in SEVERE:
            reached += frames.get(action, 0)
            counted.append(f"{reached} of {total} frames lead to {action}, where {needed} have to")
            if reached >= needed:
                return Decision(action, content, (counted[-1],), self)
        return Decision("pass", content, (counted[-1],), self)

    def at(self, content: str) -> Thresholds:
        """The thresholds for one content type."""
        if content not in self.thresholds:
            raise UnknownName(f"content type in policy {self.name} {self.version}", content, self.thresholds)
        return self.thresholds[content]

    def _heard(self, findings: Mapping[str, Finding]) -> dict[str, Finding]:
        absent = sorted(set(self.models) - set(findings))
        heard = {name: findings[name] for name in self.models or sorted(findings) if name in findings}
        if absent or len(heard) < self.agree:
            raise BadSetting(
                f"policy {self.name} {self.version} wants {self.agree} of {', '.join(self.models) or 'all models'}, "
                f"and only {', '.join(findings) or 'none'} was run",
                remedy="run the models that it names, or write a policy for those that are run",
            )
        return heard


def _vote(name: str, finding: Finding, threshold: Threshold, minimum_area: float) -> tuple[bool, str]:
    """Whether a finding reaches ``threshold`` with a mask that is large enough, and a sentence about it."""
    level = threshold.level(finding.rates)
    if finding.score < level:
        return False, f"{name}: score {told(finding.score, 'stays below', level)}"
    if minimum_area > 0.0 and finding.area is None:
        raise BadSetting("a policy with a minimum area needs masks", remedy="analyse with min_score=0")
    if minimum_area > 0.0 and (finding.area or 0.0) < minimum_area:
        return False, f"{name}: the mask's share {told(finding.area or 0.0, 'stays below', minimum_area)}"
    return True, f"{name}: score {told(finding.score, 'reaches', level)}"
