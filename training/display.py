"""What a person sees of long work: a bar on a terminal, plain lines anywhere else; both on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, track
from rich.text import Text

T = TypeVar("T")
NOT_LOSSES = frozenset({"step", "samples", "minutes", "images_per_second", "waiting", "gradient", "rate"})
"""What every report holds besides the losses."""


class Display(Protocol):
    """Takes what the log takes."""

    def update(self, fraction: float, figures: Mapping[str, float]) -> None:
        """``fraction`` in [0, 1] of the budget is used; ``figures`` are those of the last report."""

    def say(self, words: str) -> None:
        """What the run does now, or has found."""


@contextmanager
def display(name: str, minutes: float = 0.0, *, stream: TextIO | None = None) -> Iterator[Display]:
    """A display of the run ``name``, open while the context is; ``minutes`` is its budget, 0 if that is in steps."""
    console = Console(stderr=True, file=stream, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield Lines(name, minutes, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, Left(), console=console) as progress:
        yield Bar(name, minutes, progress)


def watched(items: Sequence[T], *, name: str, stream: TextIO | None = None) -> Iterator[T]:
    """``items`` one by one, and to people how many are done: a bar on a terminal, elsewhere a line at every tenth."""
    console = Console(stderr=True, file=stream, highlight=False, soft_wrap=True)
    if console.is_terminal:
        yield from track(items, description=name, console=console)
        return
    for done, item in enumerate(items, start=1):
        yield item
        if 10 * done // len(items) > 10 * (done - 1) // len(items):
            console.print(f"{name} {done} of {len(items)}")


class Left(ProgressColumn):
    """Time left."""

    def render(self, task: Task) -> Text:
        """Hours and minutes of what the task's field ``left`` holds, s."""
        return Text(clock(task.fields["left"]))


class Pace:
    """How long the rest of the budget takes: the clock's word where it is in minutes, else at the speed so far."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._started, self._first = time.monotonic(), -1.0

    def left(self, fraction: float) -> float | None:
        """Seconds; None before anything is known."""
        if self.minutes:
            return 60 * self.minutes * (1 - fraction)
        if self._first < 0:
            self._started, self._first = time.monotonic(), fraction
        gained = fraction - self._first
        return (time.monotonic() - self._started) * (1 - fraction) / gained if gained > 0 else None


class Bar:
    """A bar that is drawn over itself."""

    def __init__(self, name: str, minutes: float, progress: Progress) -> None:
        self._name, self._progress, self._pace = name, progress, Pace(minutes)
        self._task = progress.add_task(name, total=1.0, figures="", left=None)

    def update(self, fraction: float, figures: Mapping[str, float]) -> None:
        """Draw the figures behind the bar."""
        left = self._pace.left(fraction)
        self._progress.update(self._task, completed=fraction, figures=sentence(figures), left=left)

    def say(self, words: str) -> None:
        """Write one line above the bar."""
        self._progress.console.print(f"{self._name} {words}", markup=False)


class Lines:
    """A line for each report, for logs."""

    def __init__(self, name: str, minutes: float, console: Console) -> None:
        self._name, self._pace, self._console = name, Pace(minutes), console

    def update(self, fraction: float, figures: Mapping[str, float]) -> None:
        """Write one line."""
        left = clock(self._pace.left(fraction))
        self._console.print(
            f"{self._name} {fraction:.1%} step {figures['step']:.0f} {sentence(figures)} {left}", markup=False
        )

    def say(self, words: str) -> None:
        """Write one line."""
        self._console.print(f"{self._name} {words}", markup=False)


def sentence(figures: Mapping[str, float]) -> str:
    """Speed, losses by the names that the recipe gave them, and how much of the time went into waiting for data."""
    return f"{figures['images_per_second']:.1f} images/s {losses(figures)} waiting {figures['waiting']:.0%}"


def losses(figures: Mapping[str, float]) -> str:
    """Names and values of what was found."""
    return " ".join(f"{key} {value:.3f}" for key, value in figures.items() if key not in NOT_LOSSES)


def clock(seconds: float | None) -> str:
    """Time left as h:mm:ss."""
    if seconds is None:
        return "-:--:-- left"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} left"
