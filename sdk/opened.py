"""The sessions of one process, and what it keeps on a GPU."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sdk import backends
from sdk.engines.onepiece import is_in_one_piece
from sdk.errors import AnalyzerClosed

if TYPE_CHECKING:
    from sdk.artifact import Artifact
    from sdk.backend import Session
    from sdk.engines.resident import Keeper
    from sdk.recipe import Recipe


class Opened:
    """The sessions of one process, each opened when first asked for."""

    def __init__(self, loaded: Artifact, recipe: Recipe) -> None:
        self.choice = backends.choose(loaded, device=recipe.device, backend=recipe.backend, precision=recipe.precision)
        self.terms = backends.terms(self.choice, loaded)
        self._artifact, self._threads = loaded, recipe.threads
        self._sessions: dict[tuple[str, str], Session] | None = {}
        self._keeper: Keeper | None = None
        self._lock = threading.Lock()

    def keeper(self) -> Keeper | None:
        """What keeps frames on the GPU; None where they are not run there in one piece."""
        if self.choice.device != "cuda" or not is_in_one_piece(self.terms):
            return None
        from sdk.engines.resident import Keeper

        with self._lock:
            if self._sessions is None:
                raise AnalyzerClosed("this Analyzer was closed during an analysis", remedy="close it later")
            self._keeper = self._keeper or Keeper()
            return self._keeper

    def session(self, graph: str, *, precision: str) -> Session:
        """The session of ``graph``, opened if this is the first time; of one that has to be exact in f32."""
        if self.terms.graphs[graph].exact:
            precision = "f32"
        with self._lock:
            if self._sessions is None:
                raise AnalyzerClosed("this Analyzer was closed during an analysis", remedy="close it later")
            if (graph, precision) not in self._sessions:
                self._sessions[graph, precision] = backends.get(self.choice.backend).open(
                    self._artifact, graph, device=self.choice.device, precision=precision, threads=self._threads
                )
            return self._sessions[graph, precision]

    def close(self) -> None:
        """Close every session. Idempotent."""
        with self._lock:
            sessions, self._sessions = self._sessions or {}, None
        for session in sessions.values():
            session.close()
        if self._keeper:
            self._keeper.close()
