"""What is committed carries no machine path and no false digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import entry


def test_no_machine_path_is_committed():
    committed = entry.rounded({"absent": ["no file /home/me/toy/model.onnx"], "ms": 1.23456}, hide="/home/me/toy")
    assert committed == {"absent": ["no file toy/model.onnx"], "ms": 1.235}


def test_the_file_is_named_for_kind_model_and_machine(tmp_path):
    target = entry.write({"kind": "memory", "model": "toy", "mib": 12345.6}, tmp_path, host="arm", hide=tmp_path)
    assert target.name == "memory-toy-arm.json"
    assert json.loads(target.read_text(encoding="utf-8"))["mib"] == 12350


def test_a_write_that_is_cut_off_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    result = {"kind": "memory", "model": "toy", "mib": 1}
    target = entry.write(result, tmp_path, host="arm", hide=tmp_path)
    assert list(tmp_path.iterdir()) == [target]

    def cut(path, text, **_):
        path.write_bytes(text[:9].encode())
        raise KeyboardInterrupt("cut off")

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(KeyboardInterrupt, match="cut off"):
        entry.write(result | {"mib": 2}, tmp_path, host="arm", hide=tmp_path)
    assert json.loads(target.read_bytes())["mib"] == 1
