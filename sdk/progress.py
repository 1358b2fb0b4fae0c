"""How far an analysis has come, told while it runs: large frames take tiles, and tiles take time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sdk.errors import BadSetting


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """One more piece of one stage is done."""

    stage: str
    """The graph that is run, as in ``latency.stages``; the first of two passes goes by the graph that makes the map."""
    done: int
    total: int
    """Pieces of this stage: tiles, or 1 where the graph is run in one piece. Later stages come on top."""

    @property
    def share(self) -> float:
        """Of this stage, in (0, 1]."""
        return self.done / self.total


Report = Callable[[Progress], object]
"""Called from the thread that analyses, after every piece; what it raises ends the analysis and reaches the caller."""
Tell = Callable[[int, int], None]
"""Called with the pieces that are done and all there are."""


class Told:
    """A report that remembers what it raised, so that nobody takes that for a fault of the runtime."""

    def __init__(self, report: Report | None) -> None:
        if not (report is None or callable(report)):
            raise BadSetting(f"progress is {report!r}", remedy="give a function that takes a Progress, or None")
        self._report = report
        self.error: Exception | None = None

    def of(self, stage: str) -> Tell:
        """What is called with the numbers of ``stage``."""
        return lambda done, total: self._tell(Progress(stage, done, total))

    def _tell(self, progress: Progress) -> None:
        if self._report is None:
            return
        try:
            self._report(progress)
        except Exception as error:
            self.error = error
            raise


def of_model(name: str, report: Report | None) -> Report | None:
    """``report`` that is told which model's stage it hears of, where several are asked."""
    if report is None:
        return None
    return lambda piece: report(dataclasses.replace(piece, stage=f"{name} {piece.stage}"))


def silent(done: int, total: int) -> None:
    """Tell nobody."""
    del done, total
