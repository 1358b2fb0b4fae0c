"""Writes an artifact directory, whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sdk.contract import FILE, Contract
from sdk.errors import ArtifactInvalid

ROOT = Path(__file__).resolve().parents[1]


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def writable(target: Path) -> None:
    """Refuse a ``target`` that exists and is no artifact: writing would take its place."""
    if target.exists() and not (target / FILE).is_file():
        raise ArtifactInvalid(f"{target} exists and is not an artifact", remedy="name another folder with --out")


def write(target: Path, files: Mapping[str, bytes], contract: Contract) -> None:
    """Write ``files`` and ``contract`` beside ``target``, then put them in its place; the former one goes last."""
    writable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        partial, former = Path(folder) / "new", Path(folder) / "former"
        partial.mkdir()
        for name, content in {**files, FILE: contract.to_json().encode()}.items():
            (partial / name).write_bytes(content)
        if target.exists():
            target.replace(former)
        partial.replace(target)


def commit() -> str:
    """The project's commit, "+" appended when the tree has changes, or "unknown" outside a checkout."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return "unknown"  # installed inside somebody else's checkout
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()
