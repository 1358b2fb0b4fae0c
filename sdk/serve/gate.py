"""How much is let in at once. Used from the event loop alone, so it needs no lock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sdk.errors import ServiceRefused


class Gate:
    """Counts uploads that are received or waited for, and their bytes: of all, and of each key.

    One key gets a ``share`` of both, so that a slow or greedy one leaves room for the others. One alone is
    let in whatever the share; that a file fits into it beside others of its key is what the settings see to.
    """

    def __init__(self, *, max_inflight: int, max_bytes: int, share: float = 1.0, retry_after: float = 1.0) -> None:
        self._max_inflight, self._max_bytes, self._retry_after = max_inflight, max_bytes, retry_after
        self._share = share
        self.inflight = 0
        self.bytes = 0
        self._uploads, self._held = Counter[str](), Counter[str]()
        self.draining = False

    @contextmanager
    def entered(self, tenant: str) -> Iterator[Place]:
        """A place for one upload of ``tenant``, given back in the end."""
        if self.draining:
            raise self._refusal("the service is shutting down", status=503, bound="shutdown")
        if self.inflight >= self._max_inflight:
            problem = f"{self.inflight} uploads are under way, as many as are let in at once"
            raise self._refusal(problem, bound="max_inflight")
        if self._uploads[tenant] >= max(1.0, self._share * self._max_inflight):
            problem = f"{self._uploads[tenant]} uploads of this key are under way, which is its share"
            raise self._refusal(problem, bound="share of max_inflight")
        self.inflight += 1
        self._uploads[tenant] += 1
        place = Place(self, tenant)
        try:
            yield place
        finally:
            if place.until is None or place.until.done():
                self._leave(place)
            else:  # nobody waits any longer, but what was received is still in memory
                place.until.add_done_callback(lambda _: self._leave(place))

    def _leave(self, place: Place) -> None:
        self.inflight -= 1
        self.bytes -= place.bytes
        for counted, amount in ((self._uploads, 1), (self._held, place.bytes)):
            counted[place.tenant] -= amount
            if not counted[place.tenant]:
                del counted[place.tenant]

    def hold(self, count: int, tenant: str) -> None:
        """Count ``count`` more bytes of ``tenant``, or refuse them."""
        if self.bytes + count > self._max_bytes:
            problem = f"uploads of {self.bytes:,} bytes are under way, as many as are let in at once"
            raise self._refusal(problem, bound="max_bytes_inflight")
        if self._uploads[tenant] > 1 and self._held[tenant] + count > self._share * self._max_bytes:
            problem = f"uploads of this key of {self._held[tenant]:,} bytes are under way, which is its share"
            raise self._refusal(problem, bound="share of max_bytes_inflight")
        self.bytes += count
        self._held[tenant] += count

    def _refusal(self, problem: str, *, bound: str, status: int = 429) -> ServiceRefused:
        wait = self._retry_after
        return ServiceRefused(problem, remedy="come again", status=status, retry_after=wait, bound=bound)


class Place:
    """What one upload holds."""

    def __init__(self, gate: Gate, tenant: str) -> None:
        self._gate, self.tenant = gate, tenant
        self.bytes = 0
        self.until: asyncio.Future[Any] | None = None
        """What has to end before the place is free."""

    def hold(self, count: int) -> None:
        """Count ``count`` more bytes of this upload."""
        self._gate.hold(count, self.tenant)
        self.bytes += count
