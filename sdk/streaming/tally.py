"""Count what a stream finds, in bounded memory."""

from __future__ import annotations

import time

from sdk.streaming.results import GRAVITY, Ending, Moment, Span, Summary

MAX_SPANS = 1000
"""Spans that are kept; a verdict that flickers for days must not fill the memory."""


class Tally:
    """What was found so far."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._seconds: float | None = None
        self._frames = self._dropped = self._damaged = self._failed = self._joined = 0
        self._verdicts = dict.fromkeys(GRAVITY, 0)
        self._spans: list[Span] = []
        self._ended: Ending = "running"
        self._problem: str | None = None

    def add(self, moment: Moment, *, is_damaged: bool) -> None:
        """Count a moment in."""
        self._dropped += moment.dropped
        if moment.analysis is None:
            self._failed += 1
            return
        self._frames += 1
        self._damaged += is_damaged
        span = Span.of(moment, moment.analysis)
        self._verdicts[span.verdict] += 1
        if self._spans and self._spans[-1].verdict == span.verdict:
            self._spans[-1] = self._spans[-1].joined(span)
            return
        self._spans.append(span)
        if len(self._spans) > MAX_SPANS:
            self._join()

    def end(self, ended: Ending, problem: str | None = None) -> None:
        """Say how it ended; what is said first stands."""
        if self._ended == "running":
            self._ended, self._problem, self._seconds = ended, problem, time.monotonic() - self._start

    def summary(self) -> Summary:
        """What was found so far."""
        return Summary(
            frames=self._frames,
            dropped=self._dropped,
            damaged=self._damaged,
            failed=self._failed,
            verdicts=dict(self._verdicts),
            spans=tuple(self._spans),
            joined=self._joined,
            seconds=time.monotonic() - self._start if self._seconds is None else self._seconds,
            ended=self._ended,
            problem=self._problem,
        )

    def _join(self) -> None:
        """Make one of the two neighbours that have the fewest frames; the last stays, it may yet grow."""
        spans = self._spans
        at = min(range(len(spans) - 2), key=lambda i: spans[i].frames + spans[i + 1].frames)
        spans[at : at + 2] = [spans[at].joined(spans[at + 1])]
        self._joined += 1
