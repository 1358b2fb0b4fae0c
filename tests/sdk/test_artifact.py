"""An artifact is found by name or path, and read only if every byte is the one that was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdk import artifact, contract
from sdk.errors import ArtifactInvalid, UnknownName
from tests.sdk import toy


@pytest.fixture
def copy(toy_path, tmp_path) -> Path:
    return Path(shutil.copytree(toy_path, tmp_path / "copy"))


@pytest.fixture
def shipped(toy_path, tmp_path, monkeypatch) -> Path:
    shutil.copytree(toy_path, tmp_path / "psccnet-lite")
    (tmp_path / "no artifact").mkdir()
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path)
    return tmp_path


def test_reads_what_was_written(toy_path):
    loaded = artifact.read(toy_path)
    assert loaded.name == "toy-0.1"
    assert loaded.digest == artifact.digest(toy_path / contract.FILE)
    assert loaded.file("local") == toy_path.resolve() / "local.onnx"
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        loaded.file("lokal")


@pytest.mark.parametrize("file", ["local.onnx", "weights.bin"])
def test_one_changed_byte_is_refused(copy, file):
    path = copy / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactInvalid, match=f"damaged:\n  {file} does not match its SHA-256"):
        artifact.read(copy)


def test_a_missing_an_unlisted_and_an_outside_file_are_refused(copy):
    (copy / "rest.onnx").unlink()
    terms = artifact.contract.Contract.from_json((copy / contract.FILE).read_text())
    sums = {name: sum_ for name, sum_ in terms.sha256.items() if name != "shrink.onnx"} | {"../secret": "0" * 64}
    (copy / contract.FILE).write_text(toy.dataclasses.replace(terms, sha256=sums).to_json())
    with pytest.raises(ArtifactInvalid, match="secret lies outside") as caught:
        artifact.read(copy)
    assert "shrink.onnx has no checksum" in str(caught.value)
    assert "rest.onnx is missing" in str(caught.value)


def test_a_folder_without_contract_is_refused(tmp_path):
    with pytest.raises(
        UnknownName, match=rf"no artifact \(a folder with contract\.json\) named '{tmp_path}'\n  -> choose"
    ):
        artifact.read(tmp_path)


def test_finds_shipped_by_name_and_others_by_path(shipped, toy_path, monkeypatch):
    assert artifact.names() == ["psccnet-lite"]
    assert artifact.find() == artifact.find("psccnet-lite") == shipped / "psccnet-lite"
    assert artifact.find(str(toy_path)) == artifact.find(toy_path) == toy_path
    monkeypatch.chdir(toy_path.parent)
    assert artifact.find("toy") == Path("toy")
    with pytest.raises(UnknownName, match="did you mean 'psccnet-lite'"):
        artifact.find("pscnet-lite")


def test_says_how_to_make_one_when_none_ships(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path / "nothing")
    with pytest.raises(ArtifactInvalid, match="python -m export onnx"):
        artifact.find()


@pytest.mark.parametrize("model", ["x" * 5000, Path("x" * 5000), Path("\0")], ids=["name", "path", "null"])
def test_what_no_file_system_takes_is_no_artifact(model):
    with pytest.raises(UnknownName, match=r"no (model|artifact .*) named"):
        artifact.read(artifact.find(model))
