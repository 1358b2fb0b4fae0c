"""The file that a result is committed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.provenance import provenance
from sdk.artifact import Artifact

RESULTS = Path(__file__).with_name("results")
"""The committed results."""


def heading(kind: str, artifact: Artifact) -> dict[str, object]:
    """What every result about an artifact begins with."""
    terms = artifact.contract
    return {
        "schema": 1,
        "kind": kind,
        "model": terms.name,
        "version": terms.version,
        "status": terms.status,
        "artifact": artifact.digest,
        "provenance": provenance(),
    }


def write(result: Mapping[str, object], folder: Path, *, host: str, hide: Path) -> Path:
    """Write ``<kind>-<model>-<host>.json`` into ``folder``, whole or not at all; ``hide`` is :func:`rounded`'s.

    A result about no single model has ``<kind>-<host>.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = [str(result[key]) for key in ("kind", "model") if key in result]
    target = folder / f"{'-'.join([*named, host])}.json"
    beside = target.with_name(f"{target.name}.part")
    beside.write_text(json.dumps(rounded(result, hide=str(hide)), indent=2) + "\n", encoding="utf-8")
    beside.replace(target)
    return target


def rounded(value: object, *, hide: str) -> object:
    """``value`` as it is committed: four digits of each figure, and the folder ``hide`` by its name alone."""
    if isinstance(value, Mapping):
        return {key: rounded(part, hide=hide) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part, hide=hide) for part in value]
    if isinstance(value, str):
        return value.replace(hide, Path(hide).name)
    return float(f"{value:.4g}") if isinstance(value, float) else value
