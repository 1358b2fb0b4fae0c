"""Provenance is complete and can be written as JSON."""

from __future__ import annotations

import json

from benchmarks.provenance import provenance


def test_machine_versions_and_commit_are_given():
    found = provenance()
    assert json.loads(json.dumps(found)) == found
    assert all(found[key] for key in ("date", "cpu", "cores", "memory_gib", "python", "packages"))
    assert "numpy" in found["packages"]
