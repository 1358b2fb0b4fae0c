"""``imdl cache``: a line for each engine, a check of its bytes, and removal only of what was named."""

from __future__ import annotations

import dataclasses

import pytest

from sdk.__main__ import main
from sdk.engines.cache import Cache, Key
from sdk.engines.profile import Profile

KEY = Key(
    source="ab",
    graph="native",
    module="tensorrt",
    version="11.4",
    precision="fp16",
    profile=Profile.only(1080, 1920),
    target="sm_90",
)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = Cache()
    assert cache.folder.is_relative_to(tmp_path)
    return [
        cache.put(key, bytes(1 << 20), facts={"model": "toy-0.1"})
        for key in (KEY, dataclasses.replace(KEY, source="cd"))
    ]


def test_ls_says_what_each_is_for(kept, capsys):
    assert main(["cache"]) == 0
    said = capsys.readouterr()
    fields = said.out.splitlines()[0].split("\t")
    assert fields[1:] == ["toy-0.1", "native", "tensorrt 11.4", "fp16", "sm_90", "1080x1920 px", "1.0 MiB"]
    assert "2 engines, 2.0 MiB of at most" in said.err


def test_verify_finds_the_damaged_one(kept, capsys):
    assert main(["cache", "verify"]) == 0
    assert all(line.endswith("\tverified") for line in capsys.readouterr().out.splitlines())
    kept[0].file.write_bytes(bytes((1 << 20) - 1) + b"x")
    assert main(["cache", "verify"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines if line.endswith("has other bytes")] == [kept[0].key.digest[:12]]


def test_a_digest_that_names_none_or_several_removes_and_verifies_nothing(kept, monkeypatch, capsys):
    """Not even where a shell's variable was empty."""
    monkeypatch.setattr(Key, "digest", property(lambda key: "ab0" + key.source))
    kept = [Cache().put(entry.key, b"engine", facts={}) for entry in kept]
    for named, words in (("", "2 are kept"), ("ab0", "2 digests begin with ab0"), ("b", "no engine is kept")):
        assert main(["cache", "rm", named]) == 2
        assert words in capsys.readouterr().err
    assert main(["cache", "verify", "b"]) == 2
    assert all(entry.problem() is None for entry in kept)
    assert main(["cache", "rm", "ab0cd"]) == 0


def test_rm_removes_what_is_named_and_wants_a_word_for_all(kept, capsys):
    assert main(["cache", "rm"]) == 2
    assert "give --all" in capsys.readouterr().err
    assert main(["cache", "rm", kept[1].key.digest[:8]]) == 0
    assert [entry.key for entry in Cache().entries()] == [KEY]
    assert main(["cache", "rm", "zz"]) == 2
    assert "no engine is kept whose digest begins with zz" in capsys.readouterr().err
    Cache().remember("timings", "tensorrt 11.4 sm_90", b"fast")
    assert Cache().recall("timings", "tensorrt 11.4 sm_90") == b"fast"
    (remembered,) = (file.name for file in Cache().folder.glob("timings-*"))
    graphs = Cache().graphs / "toy-0.1"
    graphs.mkdir(parents=True)
    with Cache().building(kept[0].key), Cache().building(kept[1].key):
        pass
    with Cache().building(KEY):
        capsys.readouterr()
        assert main(["cache", "rm", "--all"]) == 0
    engine, *others = capsys.readouterr().out.splitlines()
    assert engine.startswith(KEY.digest[:12])
    assert engine.endswith("\tremoved")
    assert others == ["graphs/toy-0.1\tremoved", f"{remembered}\tremoved"]
    assert Cache().recall("timings", "tensorrt 11.4 sm_90") == b""
    held = Cache().folder / "locks" / KEY.digest
    assert sorted(Cache().folder.rglob("*")) == [held.parent, held]  # it belongs to a builder
    assert main(["cache", "rm", "--all"]) == 2
    assert list(held.parent.iterdir()) == []


def test_rm_all_takes_graphs_of_which_no_engine_was_built(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (Cache().graphs / "toy-0.1").mkdir(parents=True)
    (Cache().graphs / "toy-0.1" / "weights.bin").write_bytes(bytes(3 << 19))
    assert main(["cache"]) == 0
    assert "\n1.5 MiB besides: graphs" in capsys.readouterr().err
    assert main(["cache", "rm", "--all"]) == 0
    assert capsys.readouterr() == ("graphs/toy-0.1\tremoved\n", "")
    assert not Cache().graphs.exists()


def test_an_empty_cache_is_said_to_be_empty(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for action, status in (("verify", 0), ("rm", 2)):
        assert main(["cache", action, *(["--all"] if action == "rm" else [])]) == status
        assert capsys.readouterr().err == f"no engine is kept in {Cache().folder}\n"
