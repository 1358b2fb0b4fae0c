"""What a file says about itself: a few EXIF facts and its C2PA manifest. Reported beside a score, never mixed into it.

Anybody can write or remove EXIF, and a manifest says who signed what, not whether it is true. Both are read in a
process of their own, confined like the one that decodes (:mod:`sdk.confinement`). Where a photograph was taken, who
took it and what a camera's serial number is are not among the facts: only whether there is a place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from sdk.decoding import Decoder
from sdk.decoding_answer import Implausible, notes, taken
from sdk.decoding_process import WorkerProcess
from sdk.doctor import installed
from sdk.errors import SdkError
from sdk.pillow import readable

Taken = Callable[[Any], Any]


def text(value: Any) -> str | None:  # noqa: ANN401  whatever a worker sends
    """One readable line, if there is one."""
    return None if value is None else readable(value) or None


def count(value: Any) -> int | None:  # noqa: ANN401
    """A number of something, if it is known."""
    if value is not None and (not isinstance(value, int) or not 0 <= value < 2**32):
        raise Implausible("answered with no number")
    return value


def lines(values: Any) -> list[str]:  # noqa: ANN401
    """One readable line each."""
    return list(notes(values))


def each(members: Mapping[str, Taken], value: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """The ``members`` of an object, if there is one."""
    return None if value is None else taken(value, members)


EXIF: Mapping[str, Taken] = {
    "maker": text,
    "camera": text,
    "lens": text,
    "software": text,
    "taken": text,
    "modified": text,
    "width": count,
    "height": count,
    "has_place": bool,
    "has_thumbnail": bool,
}
C2PA: Mapping[str, Taken] = {
    "state": text,
    "problems": lines,
    "generator": text,
    "issuer": text,
    "signed": text,
    "actions": lines,
    "source_types": lines,
    "ingredients": count,
}
FACTS: Mapping[str, Taken] = {"exif": functools.partial(each, EXIF), "c2pa": functools.partial(each, C2PA)}


class MetadataProcess(WorkerProcess):
    """One process that reads the metadata of one file at a time."""

    WORKER = "sdk.metadata_worker"

    def facts(self, name: str, data: memoryview) -> dict[str, Any]:
        """What the file ``data`` says about itself."""
        with self._told_of(name):
            self._send(name, data)
            return taken(self._reply(), FACTS)


class MetadataReader(Decoder):
    """Reads metadata, from any number of threads at once; usable after fork and under pickle."""

    PROCESS = MetadataProcess

    def facts(self, data: bytes) -> dict[str, object]:
        """What the file whose bytes are ``data`` says about itself; where it cannot be read, why.

        Never raises for a file: what is said beside a score must not stand in its way.
        """
        found: dict[str, Any] = {"exif": None, "c2pa": None, "problem": None, "reader": dict(_readers())}
        try:
            with self._pool().worker() as worker:
                assert isinstance(worker, MetadataProcess)
                return found | worker.facts(f"the metadata of the file of {len(data):,} bytes", memoryview(data))
        except SdkError as error:
            return found | {"problem": error.problem}


@functools.cache
def _readers() -> Mapping[str, str | None]:
    """What reads EXIF, and what manifests; None where that is not installed, so that no manifest was looked for."""
    c2pa = installed("c2pa-python")
    return {"exif": f"Pillow {installed('Pillow')}", "c2pa": f"c2pa-python {c2pa}" if c2pa else None}
