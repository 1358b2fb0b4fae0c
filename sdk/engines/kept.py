"""Which engines of an artifact are kept for this machine, and the one to take for a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sdk.artifact import Artifact
from sdk.engines.cache import Cache, Entry, Key
from sdk.engines.profile import Profile
from sdk.errors import DeviceUnavailable


def source(artifact: Artifact, graph: str) -> str:
    """SHA-256 over the file of the graph that the contract names so, and the weights that all graphs share."""
    listed = artifact.contract.sha256
    file = artifact.contract.graphs[graph].file
    parts = [listed[name] for name in sorted(listed) if name == file or name.endswith(".bin")]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def serving(cache: Cache, wanted: Key) -> list[Entry]:
    """Engines for what ``wanted`` names, whatever their profile: those for one size of frame first, as the fastest."""
    alike = [entry for entry in cache.entries() if _without_profile(entry.key) == _without_profile(wanted)]
    return sorted(alike, key=lambda entry: (not entry.key.profile.is_fixed, _area(entry.key.profile)))


class Shelf:
    """The engines for one graph on this machine; which serves a kind of frame is looked up once."""

    def __init__(self, cache: Cache, wanted: Key, *, verb: str) -> None:
        self._cache, self._wanted, self._verb = cache, wanted, verb
        self._known: dict[tuple[tuple[int, ...], int], Entry] = {}

    def entry(self, shape: tuple[int, ...], working_size: int) -> Entry:
        """The engine for frames of ``shape`` [N, H, W, 3]; :class:`DeviceUnavailable` says why there is none."""
        kind = (shape, working_size)
        if kind not in self._known:
            entries = serving(self._cache, self._wanted)
            found = chosen(entries, shape, working_size)
            if found is None:
                why = self._cache.near(self._wanted)
                raise missing(entries, shape, working_size, verb=self._verb, why=why)
            self._known = {**self._known, kind: found}
        return self._known[kind]

    def entry_for(self, feeds: Mapping[str, Any]) -> Entry:
        """:meth:`entry` for what a session is given; the frame may lie on a GPU."""
        frame, working_size = feeds["frame"], int(feeds.get("working_size", 0))
        return self.entry(tuple(frame.shape), working_size)

    def forget(self) -> None:
        """Look again: engines came or went."""
        self._known = {}


def chosen(entries: Sequence[Entry], shape: tuple[int, ...], working_size: int) -> Entry | None:
    """The first engine that takes frames of ``shape`` [N, H, W, 3] at ``working_size``."""
    return next((entry for entry in entries if entry.key.profile.admits(shape, working_size)), None)


def missing(
    entries: Sequence[Entry], shape: tuple[int, ...], working_size: int, *, verb: str, why: Sequence[str] = ()
) -> DeviceUnavailable:
    """What to raise where no engine serves a frame."""
    profiles = ", ".join(entry.key.profile.text() for entry in entries)
    height, width = shape[1:3]
    kept = "".join(f"; {reason}" for reason in why) or (f", only for {profiles}" if profiles else "")
    return DeviceUnavailable(
        f"no engine is kept for {shape[0]} x {height}x{width} px at working size {working_size or 'native'}{kept}",
        remedy=f"analyzer.warmup({height}, {width}) where the backend can build one, or: python -m export {verb}",
    )


def _without_profile(key: Key) -> tuple[str, ...]:
    return key.source, key.graph, key.module, key.version, key.precision, key.target, key.plugins


def _area(profile: Profile) -> int:
    return profile.largest[0] * profile.largest[1] * profile.batch
