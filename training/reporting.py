"""What a run says of its last steps: the means of their losses, their speed, and what they waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.fit import Progress


class Report:
    """Mean of each term since the last report, with speed and the share of the time that went into waiting for data."""

    def __init__(self, progress: Progress) -> None:
        self._start(progress)

    def _start(self, progress: Progress) -> None:
        self.terms: dict[str, list[float]] = {}
        self.since, self.samples, self.waited = time.monotonic(), progress.samples, progress.waited

    def add(self, terms: dict[str, float]) -> None:
        """One step's terms."""
        for key, value in terms.items():
            self.terms.setdefault(key, []).append(value)

    def flush(self, progress: Progress) -> dict[str, float]:
        """The report, and a fresh start."""
        spent = time.monotonic() - self.since
        figures = {
            "step": progress.step, "samples": progress.samples, "minutes": progress.seconds / 60,
            **{key: sum(values) / len(values) for key, values in self.terms.items()},
            "images_per_second": (progress.samples - self.samples) / spent,
            "waiting": min((progress.waited - self.waited) / spent, 1.0),
        }  # fmt: skip
        self._start(progress)
        return figures
