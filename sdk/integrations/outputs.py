"""Where a stream's records go: a topic, or a file of JSON lines. What ``flush`` has returned for is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sdk.errors import BadSetting, EvidenceInvalid
from sdk.evidence.chain import Signer, seal
from sdk.evidence.record import Record, digest, dumps, loads
from sdk.integrations import locks
from sdk.integrations.brokers import Sender


class Output(Protocol):
    """Takes the records of examinations."""

    def write(self, record: Record, *, key: str, headers: Mapping[str, str]) -> bool:
        """Take a record; False if it is there already. ``key`` is the same for the same examination."""

    def flush(self) -> None:
        """Return when all that was taken is written; raise if it is not."""

    def close(self) -> None:
        """Take no more."""


class Topic:
    """Records as messages, by the key of their examination: a compacted topic keeps one of each.

    They are not chained: any number of consumers write to one topic.
    """

    def __init__(self, sender: Sender, topic: str, *, signer: Signer | None = None) -> None:
        self._sender, self._topic, self._signer = sender, topic, signer

    def write(self, record: Record, *, key: str, headers: Mapping[str, str]) -> bool:
        """Send the record."""
        told = [(name, value.encode()) for name, value in headers.items()]
        self._sender.send(self._topic, seal(record, signer=self._signer).encode(), key=key.encode(), headers=told)
        return True

    def flush(self) -> None:
        """Wait for the brokers."""
        self._sender.flush()

    def close(self) -> None:
        """Nothing: the sender is another's."""


class Lines:
    """Records as lines of a file, chained; what stands in it is not written again, also after a crash.

    The file is locked: of two that write, each would chain its records to those of its own alone.
    """

    def __init__(self, path: Path, *, signer: Signer | None = None) -> None:
        self._signer = signer
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise BadSetting(
                f"{path} cannot be written: {error.strerror}", remedy="name a file in a folder that exists"
            ) from error
        try:
            locks.hold(self._file, f"another process writes {path}", remedy="give each consumer a file of its own")
            self._known, self._previous = self._read(path)
        except BaseException:
            self._file.close()
            raise

    def write(self, record: Record, *, key: str, headers: Mapping[str, str]) -> bool:
        """Append the record, sealed to the one before it; whom it belongs to its digest of the input tells."""
        name = _name(record)
        if name in self._known:
            return False
        text = seal(record, previous=self._previous, signer=self._signer)
        self._file.write(text.encode() + b"\n")
        self._known.add(name)
        self._previous = digest(text)
        return True

    def flush(self) -> None:
        """Bring it to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, path: Path) -> tuple[set[bytes], str | None]:
        """Names of the records that are there, and the last one's digest; a line that was cut off is removed."""
        self._file.seek(0)
        known, previous, whole = set(), None, 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                known.add(_name(loads(line)))
            except EvidenceInvalid as error:
                raise EvidenceInvalid(f"{path}, line {number}: {error.problem}", remedy="name another file") from error
            previous, whole = digest(line[:-1].decode("ascii", "replace")), whole + len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
        return known, previous


def _name(record: Mapping[str, Any]) -> bytes:
    """What an examination is known by: file, content type, policies, artifacts; 20 bytes."""
    decision, shadow = record["decision"], record.get("shadow")
    policies = [each["policy"]["sha256"] for each in (decision, shadow) if each]
    artifacts = [model["artifact"] for model in record["models"]]
    parts = {"input": record["input"]["sha256"], "content": decision["content"], "by": [*policies, *artifacts]}
    return bytes.fromhex(digest(dumps(parts))[:40])
