"""What a runtime has to offer to run an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

if TYPE_CHECKING:
    from sdk.artifact import Artifact
    from sdk.engines.profile import Profile

Arrays = dict[str, NDArray[Any]]
"""Arrays by the contract's tensor names."""


class Pending(Protocol):
    """An answer that is being computed."""

    def result(self) -> Arrays:
        """Wait for the outputs; asked once."""
        ...


class Session(Protocol):
    """One graph, loaded and ready: arrays in, arrays out. Any number of threads may use it at once."""

    parallel: int
    """How many submitted runs are computed side by side; more of them wait.

    On a GPU three: one goes up, one is computed, one comes down.
    """

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``. The arrays belong to the caller; nothing is reused under them."""
        ...

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> Pending:
        """Start on ``feeds`` and return at once; the feeds must not change until the result is there."""
        ...

    def close(self) -> None:
        """Release memory and threads. Idempotent."""
        ...


@runtime_checkable
class Builds(Protocol):
    """A session that runs engines, and can build one: never in an analysis, which would wait for minutes."""

    def build(self, profile: Profile) -> None:
        """Make sure that there is an engine for the usual frame of ``profile``, or build one for all its frames."""
        ...


class Backend(Protocol):
    """What a module in ``sdk/backends`` provides.

    One that runs engines also has ``built(artifact, *, device)``, the precisions of those that are there,
    ``terms(contract, *, device)``, the contract as it executes it, and ``VERB``, what ``python -m export`` makes them
    by, where that is not its own name.
    """

    RANK: int
    """Order of preference; the lowest that can run an artifact runs it."""

    def reasons_against(self, artifact: Artifact, *, device: str) -> list[str]:
        """Why this machine cannot run ``artifact`` on ``device`` ("cpu", "cuda"), one sentence each."""
        ...

    def precisions(self, device: str) -> tuple[str, ...]:
        """What arithmetic this machine offers at full speed on ``device``: "f32", "bf16"; the fastest last."""
        ...

    def open(self, artifact: Artifact, graph: str, *, device: str, precision: str, threads: int | None) -> Session:
        """Load ``graph``; ``threads`` is the number of CPU threads, None leaves it to the runtime."""
        ...
