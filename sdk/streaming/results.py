"""What a stream gives: moments while it runs, and a summary of what was found when."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sdk.errors import SdkError
    from sdk.results import Analysis

SCHEMA = Path(__file__).parents[1] / "stream.schema.json"
"""JSON schema of a moment and of a summary."""
GRAVITY = ("no_evidence", "inconclusive", "suspicious", "manipulated")
"""Verdicts, the gravest last."""

Ending = Literal["running", "complete", "failed", "closed"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Moment:
    """One frame of a stream."""

    index: int
    """Number of the frame in its source, from 0; those that were passed over count."""
    time_s: float | None
    """When it is shown, from the start; None where the source has no times."""
    dropped: int
    """Frames that were passed over since the moment before."""
    analysis: Analysis | None
    """None only for a file of its own, of a folder or an iterable, that could not be analysed."""
    error: SdkError | None = None
    """Why there is no analysis."""

    def to_dict(self) -> dict[str, object]:
        """Everything but the arrays, of plain types; ``moment`` of ``sdk/stream.schema.json``."""
        place = {"index": self.index, "time_s": self.time_s, "dropped": self.dropped}
        if self.error is not None:
            failure = {"type": type(self.error).__name__, "problem": self.error.problem, "remedy": self.error.remedy}
            return {**place, "error": failure}
        assert self.analysis is not None
        return {**place, "analysis": self.analysis.to_dict()}

    def to_json(self) -> str:
        """:meth:`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Analysed frames in a row with one verdict."""

    verdict: str
    """Of joined spans (see ``Summary.joined``) the gravest."""
    first: int
    """Number of its first frame."""
    last: int
    start_s: float | None
    end_s: float | None
    """Time of its last frame."""
    frames: int
    """Analysed frames in it."""
    peak_score: float
    peak: int
    """Number of the frame with that score: the one to look at."""

    @classmethod
    def of(cls, moment: Moment, analysis: Analysis) -> Span:
        """A span of one frame and what was found in it."""
        at, when = moment.index, moment.time_s
        return cls(
            verdict=analysis.verdict.name, first=at, last=at, start_s=when, end_s=when, frames=1,
            peak_score=analysis.score, peak=at,
        )  # fmt: skip

    def joined(self, later: Span) -> Span:
        """This span with the one after it."""
        best = max(self, later, key=lambda span: span.peak_score)
        return Span(
            verdict=max(self.verdict, later.verdict, key=GRAVITY.index), first=self.first, last=later.last,
            start_s=self.start_s, end_s=later.end_s, frames=self.frames + later.frames,
            peak_score=best.peak_score, peak=best.peak,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was found in a stream, so far or in all.

    Thresholds are shares of single frames: of 1000 authentic ones about 50 are expected to be flagged. One flagged
    frame is a place to look at, no finding about a video.
    """

    frames: int
    """Analysed frames."""
    dropped: int
    """Frames that were passed over."""
    damaged: int
    """Analysed frames that the decoder had to repair; they are inconclusive."""
    failed: int
    """Files of a folder or an iterable that could not be analysed; they are in no span."""
    verdicts: Mapping[str, int]
    """Analysed frames by verdict."""
    spans: tuple[Span, ...]
    """In order."""
    joined: int
    """How often two spans were made one, the shortest first, to keep their number bounded."""
    seconds: float
    """How long it took, by the clock."""
    ended: Ending
    problem: str | None
    """Why it failed."""

    @property
    def found(self) -> bool:
        """Whether a frame is judged manipulated or suspicious."""
        return bool(self.verdicts["manipulated"] or self.verdicts["suspicious"])

    @property
    def fps(self) -> float:
        """Analysed frames per second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, object]:
        """Of plain types; ``summary`` of ``sdk/stream.schema.json``."""
        fields = dataclasses.asdict(self) | {"spans": [dataclasses.asdict(span) for span in self.spans]}
        return {**fields, "found": self.found, "fps": self.fps}

    def to_json(self, *, indent: int | None = None) -> str:
        """:meth:`to_dict` as text, on one line unless ``indent`` says otherwise."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)
