"""Graphs for engines of artifacts that ship: in this user's cache, since the package may be for reading only.

What is kept is the artifact that ships with graphs besides, in a folder that has its SHA-256 in its name. The backends
of TensorRT alone look there: all else is run from the package, and results name the digest of what ships.
"""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from sdk import contract
from sdk.artifact import Artifact, read
from sdk.engines.cache import Cache
from sdk.errors import ArtifactInvalid, SdkError


def home(artifact: Artifact) -> Path:
    """Where graphs for engines of ``artifact`` belong: where it is, or in the cache if it ships."""
    return Cache().graphs / f"{artifact.name}-{artifact.digest}" if artifact.ships else artifact.path


def with_graphs(artifact: Artifact) -> Artifact:
    """``artifact`` with the graphs that ``python -m export tensorrt`` made of it; itself where there are no others.

    Raises :class:`sdk.errors.ArtifactInvalid` where what is kept is damaged, or holds other weights or terms.
    """
    path = home(artifact)
    if path == artifact.path or not (path / contract.FILE).is_file():
        return artifact
    remedy = f"rm -r {shlex.quote(str(path))}, then python -m export tensorrt {artifact.in_shell}"
    try:
        kept = read(path)
    except SdkError as error:
        problem = " ".join(error.problem.split())
        raise ArtifactInvalid(f"the graphs for engines cannot be used: {problem}", remedy=remedy) from error
    if not _is_made_of(kept, artifact):
        raise ArtifactInvalid(f"the graphs for engines in {path} are not of {artifact.name}", remedy=remedy)
    return kept


def _is_made_of(kept: Artifact, artifact: Artifact) -> bool:
    """Whether ``kept`` has all that ``artifact`` has; other weights may follow upon its own, as graphs beside its."""
    terms = artifact.contract
    graphs = {name: graph for name, graph in kept.contract.graphs.items() if name in terms.graphs}
    sha256 = {file: digest for file, digest in kept.contract.sha256.items() if file in terms.sha256}
    for file in sha256:
        if file.endswith(".bin") and (kept.path / file).read_bytes().startswith((artifact.path / file).read_bytes()):
            sha256[file] = terms.sha256[file]
    return dataclasses.replace(kept.contract, graphs=graphs, sha256=sha256) == terms
