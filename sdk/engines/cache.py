"""Where engines are kept: by the digest of all that they depend on, so that none is ever used for something else.

An engine is two files: ``DIGEST.engine``, the bytes that the runtime made and nothing else, and ``DIGEST.json``, which
says what they are and holds their SHA-256. The second is written last; without it the first is no engine. Any number of
processes may use one folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from sdk.engines.profile import Profile
from sdk.errors import ArtifactInvalid

try:
    import fcntl
except ImportError:  # not on Windows; two builders there do the work twice, and the later result stays
    fcntl = None  # type: ignore[assignment]

CAP = 20 << 30
"""Bytes that all files of a cache may take; beyond it the engine that was unused for longest goes first."""
STALE_S = 24 * 3600
"""Age at which what a builder left behind is removed, s."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """All that an engine depends on."""

    source: str
    """SHA-256 of what it was built from: the ONNX graph with its weights, or the artifact."""
    graph: str
    module: str
    """Name of the package that built it, which alone can run it."""
    version: str
    precision: str
    profile: Profile
    target: str
    """"sm_90" for an NVIDIA GPU of compute capability 9.0; what CPU otherwise."""
    plugins: str = ""
    """SHA-256 of the library of plugins that it needs, if it holds any."""

    @property
    def digest(self) -> str:
        """SHA-256 of the fields, hexadecimal."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Key:
        """What :func:`dataclasses.asdict` made, through JSON."""
        profile = fields["profile"]
        texts = {name: str(value) for name, value in fields.items() if name != "profile"}
        return cls(profile=Profile.from_dict(profile if isinstance(profile, Mapping) else {}), **texts)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One engine that is kept."""

    key: Key
    file: Path
    """The engine's own bytes."""
    sha256: str
    size: int
    """Bytes."""
    used: float
    """When it was used last, seconds since the epoch."""
    facts: Mapping[str, object]
    """What its builder wants known: model, GPU, seconds, parity."""

    @property
    def plugins(self) -> str:
        """Which library its plugins are of: its file's name and the start of its SHA-256; empty if it holds none."""
        return f"{self.facts.get('plugins', '?')} {self.key.plugins[:12]}" if self.key.plugins else ""

    def problem(self) -> str | None:
        """What is wrong with the file, in one sentence; None where its bytes are those that were written."""
        try:
            content = self.file.read_bytes()
        except OSError as error:
            return f"{self.file.name} cannot be read: {error.strerror}"
        if len(content) != self.size:
            return f"{self.file.name} has {len(content)} bytes, {self.size} were written"
        return None if hashlib.sha256(content).hexdigest() == self.sha256 else f"{self.file.name} has other bytes"

    def read(self) -> bytes:
        """The engine, checked."""
        problem = self.problem()
        if problem:
            raise ArtifactInvalid(f"an engine is damaged: {problem}", remedy="imdl cache rm, then build it again")
        with contextlib.suppress(OSError):  # a folder that is only for reading has no order of use
            os.utime(self.file.with_suffix(".json"))
        return self.file.read_bytes()


class Cache:
    """A folder of engines."""

    def __init__(self, folder: Path | None = None, *, cap: int = CAP) -> None:
        self.folder = folder or default_folder()
        self.cap = cap
        self.graphs = self.folder / "graphs"
        """What engines of artifacts that ship are built from: a folder for each."""

    def entries(self) -> list[Entry]:
        """Every engine, the one used last first; files that are none are passed over."""
        found = [entry for file in self.folder.glob("*.json") if (entry := _entry(file))]
        return sorted(found, key=lambda entry: (-entry.used, entry.key.digest))

    @property
    def besides(self) -> int:
        """Bytes of all that is kept besides engines: what they are built from, and what building taught."""
        files = [*self.folder.glob("*.learned"), *self.graphs.rglob("*")]
        return sum(file.stat().st_size for file in files if file.is_file())

    def find(self, key: Key) -> Entry | None:
        """The engine for ``key``."""
        return _entry(self.folder / f"{key.digest}.json")

    def put(self, key: Key, content: bytes, *, facts: Mapping[str, object] | None = None) -> Entry:
        """Keep an engine, whole or not at all; then drop others if all together are too large."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = key.digest
        meta = {
            "key": dataclasses.asdict(key),
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "facts": dict(facts or {}),
        }
        write(self.folder / f"{digest}.engine", content)
        write(self.folder / f"{digest}.json", (json.dumps(meta, indent=2, sort_keys=True) + "\n").encode())
        entry = self.find(key)
        assert entry is not None  # just written; who removes it meanwhile holds the lock
        self.trim(keep=digest)
        return entry

    def remove(self, entry: Entry) -> None:
        """Drop an engine: what says that it is one first, so that it is never half there."""
        entry.file.with_suffix(".json").unlink(missing_ok=True)
        entry.file.unlink(missing_ok=True)

    def trim(self, *, keep: str = "") -> list[Entry]:
        """Drop engines, unused ones first, until the cap is kept; never that of the digest ``keep``."""
        self._sweep()
        total = sum(entry.size for entry in self.entries())
        total += self.besides
        dropped = []
        for entry in reversed(self.entries()):
            if total <= self.cap:
                break
            if entry.key.digest != keep:
                self.remove(entry)
                total -= entry.size
                dropped.append(entry)
        return dropped

    def recall(self, kind: str, whose: str) -> bytes:
        """What :meth:`remember` was given last, empty if nothing."""
        file = self._remembered(kind, whose)
        return file.read_bytes() if file.is_file() else b""

    def remember(self, kind: str, whose: str, content: bytes) -> None:
        """Keep what a package learned on a GPU (timings, kernels): it is no model's, and may be lost."""
        if content:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self._remembered(kind, whose), content)

    def forget(self) -> list[Path]:
        """Drop all that is kept besides engines: graphs, what was remembered, and locks that nobody holds.

        What is returned says what is gone and was worth a word: folders of graphs and what was remembered.
        """
        graphs, remembered = sorted(self.graphs.glob("*")), sorted(self.folder.glob("*.learned"))
        for file in remembered:
            file.unlink(missing_ok=True)
        shutil.rmtree(self.graphs, ignore_errors=True)  # an export may be writing there
        for file in (self.folder / "locks").glob("*"):
            with contextlib.suppress(OSError), file.open("a") as handle:  # one that is held belongs to a builder
                if fcntl:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
        return [path for path in graphs + remembered if not path.exists()]

    def _remembered(self, kind: str, whose: str) -> Path:
        return self.folder / f"{kind}-{hashlib.sha256(whose.encode()).hexdigest()[:16]}.learned"

    @contextlib.contextmanager
    def building(self, key: Key) -> Iterator[None]:
        """Held by the one process that builds ``key``; others wait, and find the engine when they get it."""
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        file = locks / key.digest
        while True:
            with file.open("a") as handle:
                if fcntl:
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if _is_behind(handle.fileno(), file):
                    yield  # closing the file gives the lock back, as the end of a process does, however it ends
                    return
            # It was removed between both calls (forget): others lock a new one.

    def near(self, key: Key) -> list[str]:
        """Why the engines for the same graph do not serve ``key``, one sentence each."""
        said = []
        for entry in self.entries():
            other = entry.key
            if (other.graph, other.module, other.source) != (key.graph, key.module, key.source):
                continue
            if other.target != key.target:
                said.append(f"there is an engine for {other.target}, this machine has {key.target}")
            elif other.version != key.version:
                said.append(f"there is an engine of {other.module} {other.version}, {key.version} is installed")
            elif other.precision != key.precision:
                said.append(f"there is an engine in {other.precision}, not in {key.precision}")
            elif other.plugins != key.plugins:
                said.append(f"there is an engine with plugins of {entry.plugins}, here is {key.plugins[:12]}")
        return list(dict.fromkeys(said))

    def _sweep(self) -> None:
        """Remove what builders left that did not come to an end, and engines without their description."""
        horizon = time.time() - STALE_S
        for file in [*self.folder.glob("*.part"), *self.folder.glob("*.engine")]:
            with contextlib.suppress(OSError):  # another process may sweep
                if not file.with_suffix(".json").exists() and file.stat().st_mtime < horizon:
                    file.unlink()


def default_folder() -> Path:
    """``imdl-sdk/engines`` where this user's caches are."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "imdl-sdk" / "engines"


def write(file: Path, content: bytes) -> None:
    """Put ``content`` in the place of ``file``, whole or not at all, even if the machine stops."""
    handle, name = tempfile.mkstemp(prefix=file.stem, suffix=".part", dir=file.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _is_behind(descriptor: int, file: Path) -> bool:
    """Whether what is open is still what ``file`` names."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), file.stat())
    return False


def _entry(file: Path) -> Entry | None:
    """What ``file`` describes; None where it or its engine is not there, or it is no description."""
    engine = file.with_suffix(".engine")
    try:
        meta = json.loads(file.read_bytes())
        key = Key.from_dict(meta["key"])
        used = file.stat().st_mtime
        entry = Entry(key, engine, str(meta["sha256"]), int(meta["size"]), used, dict(meta["facts"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if key.digest == file.stem and engine.is_file() else None
