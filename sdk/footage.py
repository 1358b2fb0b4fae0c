"""What models and a policy say about a video: frame by frame, by the thresholds for frames of video."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, SdkError, UnsupportedImage
from sdk.policy import SEVERE, Action, Decision, Finding, Policy
from sdk.streaming.stream import stream

if TYPE_CHECKING:
    from sdk.analyzer import Analyzer
    from sdk.results import Analysis
    from sdk.streaming.results import Moment, Summary
    from sdk.video.limits import VideoLimits

REFUSALS = (DecodeFailed, LimitExceeded, MissingExtra, UnsupportedImage)
"""Errors that say something about the file and not about this machine."""
WORST = 10
"""Frames that are named, the most suspicious first."""
ACTIONS: tuple[Action, ...] = ("pass", *reversed(SEVERE))
"""The most severe last."""
PASSING = ("seconds", "fps", "ended", "problem", "found", "dropped", "failed", "frames")
"""What a record does not take from a stream's summary: what differs each time, what it says elsewhere, and what cannot
be: a frame of a video that fails ends it."""


@dataclass(frozen=True, slots=True)
class Still:
    """One frame of a video, without its pixels."""

    frame: int
    """Its number, from 0."""
    time_s: float | None
    action: Action
    """What the policy would do if it were all."""
    scores: Mapping[str, float]
    """By model."""

    @property
    def rank(self) -> tuple[int, float, int]:
        """The more suspicious the greater; of equals the first is."""
        return ACTIONS.index(self.action), max(self.scores.values()), -self.frame


@dataclass(slots=True, eq=False)
class Footage:
    """What was found in a video, so far or in all."""

    policy: Policy
    content: str
    frames: dict[Action, int] = field(default_factory=lambda: dict.fromkeys(ACTIONS, 0))
    """How many frames would lead to each action by themselves."""
    worst: list[Still] = field(default_factory=list)
    """The most suspicious first."""
    analyses: Mapping[str, Analysis] = field(default_factory=dict)
    """By model, of the most suspicious frame; empty if there was none."""
    reasons: tuple[str, ...] = ()
    """For what the policy would do with that frame."""

    def add(self, moments: Mapping[str, Moment], findings: Mapping[str, Finding]) -> None:
        """Count one frame, that every model has looked at."""
        decision = self.policy.decide(findings, content=self.content)
        moment, analyses = next(iter(moments.values())), _analyses(moments)
        scores = {name: each.score for name, each in analyses.items()}
        still = Still(moment.index, moment.time_s, decision.action, scores)
        self.frames[decision.action] += 1
        self.worst = heapq.nlargest(WORST, [*self.worst, still], key=lambda each: each.rank)
        if self.worst[0] is still:
            self.analyses = analyses
            self.reasons = decision.reasons

    def decision(self, error: SdkError | None) -> Decision:
        """What is done with the video, of which nothing could be read after ``error``."""
        refused = self.policy.refuse(error.problem, content=self.content) if error else None
        if not self.worst:
            assert refused is not None  # a video without frames is an error
            return refused
        found, still = self.policy.decide_video(self.frames, content=self.content), self.worst[0]
        place = f"frame {still.frame}" if still.time_s is None else f"frame {still.frame}, at {still.time_s:.2f} s"
        reasons = (*found.reasons, *(f"{place}: {reason}" for reason in self.reasons))
        decisions = [found, refused] if refused else [found]
        action = max((each.action for each in decisions), key=ACTIONS.index)
        return Decision(action, self.content, (*reasons, *(refused.reasons if refused else ())), self.policy)


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What was found in a video, and why it ended early."""

    footage: Footage
    shadow: Footage | None
    summaries: Mapping[str, Summary]
    """By model."""
    error: SdkError | None

    def to_dict(self) -> dict[str, object]:
        """Plain types: ``video`` of a record of evidence. The same each time."""
        stills, told = self.footage.worst, self.footage.frames
        return {
            "frames": sum(told.values()),
            "actions": dict(told),
            "worst": [
                {"frame": each.frame, "time_s": each.time_s, "action": each.action, "scores": dict(each.scores)}
                for each in stills
            ],
            "models": {name: of_summary(summary) for name, summary in self.summaries.items()},
        }


def of_summary(summary: Summary) -> dict[str, object]:
    """Of a stream's summary, what is the same each time."""
    return {key: value for key, value in summary.to_dict().items() if key not in PASSING}


def watch(
    data: bytes,
    analyzers: Mapping[str, Analyzer],
    *,
    footage: Footage,
    shadow: Footage | None = None,
    limits: VideoLimits | None = None,
    most_seconds: float = float("inf"),
    between: Callable[[], None] = lambda: None,
) -> Watched:
    """Analyse every frame of the video whose bytes are ``data`` with every model, and let the policies count them.

    It is decoded once for each model, in a process of its own each. ``between`` is called after each frame, and may
    raise to stop; a video that takes longer than ``most_seconds`` is ended, with what was found until then.
    """
    deadline, error = time.monotonic() + most_seconds, None
    with contextlib.ExitStack() as held:
        streams = {name: held.enter_context(stream(data, one, limits=limits)) for name, one in analyzers.items()}
        try:
            for moments in _abreast(streams):
                findings = {
                    name: Finding.of(each, analyzers[name].artifact.contract, is_video=True)
                    for name, each in _analyses(moments).items()
                }
                for each in (footage, shadow) if shadow else (footage,):
                    each.add(moments, findings)
                between()
                if time.monotonic() > deadline:
                    raise _too_long(most_seconds)
            if not footage.worst:
                raise DecodeFailed("the video holds no frame", remedy="fetch it again from its source")
        except REFUSALS as refusal:
            error = refusal
        summaries = {name: each.summary for name, each in streams.items()}
    return Watched(footage, shadow, summaries, error)


def _abreast(streams: Mapping[str, Iterator[Moment]]) -> Iterator[dict[str, Moment]]:
    """The same frame from every stream; they are as long, as every one has the same file."""
    for moments in zip(*streams.values(), strict=True):
        yield dict(zip(streams, moments, strict=True))


def _analyses(moments: Mapping[str, Moment]) -> dict[str, Analysis]:
    """By model; every moment of a video has one, as a frame that fails ends it."""
    return {name: each.analysis for name, each in moments.items() if each.analysis is not None}


def _too_long(seconds: float) -> LimitExceeded:
    return LimitExceeded(
        f"the video takes longer than the limit of {seconds:g} seconds", remedy="hand in a shorter one, or raise it"
    )
