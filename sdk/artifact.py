"""Find, read and verify an artifact: a directory with graphs, weights and a contract."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path

from sdk import contract
from sdk.contract import Contract
from sdk.errors import ArtifactInvalid, UnknownName

DEFAULT = "psccnet-lite"
"""Name of the shipped artifact that is used when none is named."""

SHIPPED = Path(__file__).parent / "artifacts"
"""Folder of the artifacts that come with the package."""

MEMBERS = "members.json"
"""In an artifact that has no graphs of its own: which models it asks, and how their answers become one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that was read and whose files matched their checksums."""

    path: Path
    contract: Contract
    digest: str
    """SHA-256 of the contract, which holds the SHA-256 of every other file, in hexadecimal."""

    @property
    def name(self) -> str:
        """Name and version, for messages."""
        return f"{self.contract.name}-{self.contract.version}"

    @property
    def ships(self) -> bool:
        """Whether it is one that comes with the package."""
        return self.path.parent == SHIPPED.resolve()

    @property
    def named(self) -> str:
        """What :func:`find` and every command find it by: its name if it ships, else its path."""
        return self.path.name if self.ships else str(self.path)

    @property
    def in_shell(self) -> str:
        """:attr:`named`, as a shell has to read it."""
        return shlex.quote(self.named)

    def file(self, graph: str) -> Path:
        """The ONNX file of the graph named ``graph``."""
        if graph not in self.contract.graphs:
            raise UnknownName("graph", graph, self.contract.graphs)
        return self.path / self.contract.graphs[graph].file


def names() -> list[str]:
    """Every artifact that ships with the package."""
    if not SHIPPED.is_dir():
        return []
    return sorted(path.name for path in SHIPPED.iterdir() if (path / contract.FILE).is_file())


def models() -> list[str]:
    """The artifacts that ship and answer by themselves, without those that ask others."""
    return [name for name in names() if not (SHIPPED / name / MEMBERS).is_file()]


def find(model: str | Path | None = None) -> Path:
    """Directory of an artifact: a shipped one by name (None is the default), one of the user's by path."""
    name = model or DEFAULT
    if name in names():
        return SHIPPED / name
    if isinstance(name, Path) or Path(name).name != name or _is(Path(name).is_dir):
        return Path(name)
    if not names():
        raise ArtifactInvalid(
            "no artifact ships with this copy of imdl-sdk",
            remedy=f"python -m export onnx {DEFAULT}, then sdk.load(path)",
        )
    raise UnknownName("model", name, names())


def _is(kind: Callable[[], bool]) -> bool:
    """What a path says that it is; of a name that no file system takes, nothing."""
    try:
        return kind()
    except OSError:
        return False


def read(path: Path) -> Artifact:
    """Read the artifact at ``path`` and check every file against its SHA-256."""
    file = path / contract.FILE
    if not _is(file.is_file):
        raise UnknownName(f"artifact (a folder with {contract.FILE})", str(path), names())
    text = file.read_bytes()
    terms = Contract.from_json(text.decode("utf-8", "replace"))
    artifact = Artifact(path.resolve(), terms, hashlib.sha256(text).hexdigest())
    damaged = problems(artifact)
    if damaged:
        raise ArtifactInvalid(
            f"{path} is damaged:" + "".join(f"\n  {problem}" for problem in damaged),
            remedy="install or export it again",
        )
    return artifact


def problems(artifact: Artifact) -> list[str]:
    """What is wrong with the artifact's files, one sentence each; empty when all match their SHA-256."""
    listed = artifact.contract.sha256
    unlisted = {graph.file for graph in artifact.contract.graphs.values()} - set(listed)
    found = [f"{file} has no checksum" for file in sorted(unlisted)]
    for file, expected in sorted(listed.items()):
        path = artifact.path / file
        if Path(file).name != file:
            found.append(f"{file} lies outside the artifact")
        elif not path.is_file():
            found.append(f"{file} is missing")
        elif digest(path) != expected:
            found.append(f"{file} does not match its SHA-256")
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(functools.partial(stream.read, 1 << 20), b""):
            total.update(block)
    return total.hexdigest()
