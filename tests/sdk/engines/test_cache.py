"""The cache: addressed by all that an engine depends on, whole or not at all, for any number of processes at once."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.engines.cache import STALE_S, Cache, Key
from sdk.engines.profile import Profile
from sdk.errors import ArtifactInvalid

KEY = Key(
    source="ab", graph="native", module="tensorrt", version="11.4", precision="fp16", profile=Profile(), target="sm_90"
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
CHANGES = {
    "source": "cd", "graph": "shrunk", "module": "tensorrt_rtx", "version": "10.16", "precision": "f32",
    "profile": Profile(batch=2), "target": "sm_86", "plugins": "ef",
}  # fmt: skip


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "engines")


def test_every_field_of_a_key_tells_engines_apart():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Key)}
    digests = {dataclasses.replace(KEY, **{name: value}).digest for name, value in CHANGES.items()}
    assert len(digests | {KEY.digest}) == len(CHANGES) + 1


@given(names=st.lists(texts, min_size=7, max_size=7), batch=st.integers(1, 9))
def test_a_key_survives_its_own_description(names, batch):
    fields = [name for name in CHANGES if name != "profile"]
    key = Key(profile=Profile(batch=batch), **dict(zip(fields, names, strict=True)))
    again = Key.from_dict(json.loads(json.dumps(dataclasses.asdict(key))))
    assert again == key
    assert again.digest == key.digest


def test_what_is_put_is_found_and_its_file_is_pure(cache):
    content = bytes(range(256)) * 3
    entry = cache.put(KEY, content, facts={"model": "toy-0.1"})
    assert entry.file.read_bytes() == content
    assert cache.find(KEY).read() == content
    assert cache.find(KEY).facts == {"model": "toy-0.1"}
    assert cache.find(dataclasses.replace(KEY, precision="f32")) is None
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".engine", ".json"]


@given(content=st.binary(min_size=1, max_size=200), place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed(tmp_path_factory, content, place, change):
    entry = Cache(tmp_path_factory.mktemp("engines")).put(KEY, content)
    damaged = bytearray(content)
    damaged[place % len(content)] ^= change
    entry.file.write_bytes(bytes(damaged))
    with pytest.raises(ArtifactInvalid, match="has other bytes"):
        entry.read()


def test_a_cut_file_is_told_by_its_length_and_a_missing_one_is_no_engine(cache):
    entry = cache.put(KEY, b"123456")
    entry.file.write_bytes(b"123")
    with pytest.raises(ArtifactInvalid, match="has 3 bytes, 6 were written"):
        entry.read()
    entry.file.unlink()
    assert "cannot be read" in entry.problem()
    assert cache.find(KEY) is None
    assert cache.entries() == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": 3}', '{"key": {"profile": {}}}', "\x00\xff"])
def test_a_description_that_is_none_is_passed_over(cache, text):
    cache.put(KEY, b"1")
    (cache.folder / f"{KEY.digest}.json").write_text(text)
    assert cache.find(KEY) is None
    assert cache.entries() == []


def test_a_description_under_another_name_is_not_believed(cache):
    entry = cache.put(KEY, b"1")
    other = cache.folder / f"{'0' * 64}.json"
    other.write_bytes(entry.file.with_suffix(".json").read_bytes())
    other.with_suffix(".engine").write_bytes(b"1")
    assert [found.key for found in cache.entries()] == [KEY]


def test_the_one_unused_for_longest_goes_first_and_the_new_one_stays(tmp_path):
    cache = Cache(tmp_path, cap=250)
    keys = [dataclasses.replace(KEY, version=str(number)) for number in range(3)]
    for age, key in zip((300, 100, 200), keys, strict=True):
        entry = cache.put(key, bytes(60))
        os.utime(entry.file.with_suffix(".json"), (time.time() - age,) * 2)
    cache.find(keys[0]).read()  # used now
    new = dataclasses.replace(KEY, version="new")
    cache.put(new, bytes(100))
    assert {entry.key.version for entry in cache.entries()} == {"0", "1", "new"}
    cache.put(dataclasses.replace(KEY, version="huge"), bytes(999))
    assert [entry.key.version for entry in cache.entries()] == ["huge"]


def test_what_a_builder_left_is_swept_when_it_is_old(cache):
    entry = cache.put(KEY, b"1")
    old, young = (cache.folder / f"{name}.part" for name in ("old", "young"))
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * STALE_S,) * 2)
    cache.trim()
    assert young.exists()
    assert not old.exists()
    assert entry.file.exists()


def test_another_engine_for_the_same_graph_says_why_it_does_not_serve(cache):
    for change in ({"target": "sm_86"}, {"version": "10.13"}, {"precision": "f32"}, {"source": "other"}):
        cache.put(dataclasses.replace(KEY, **change), b"1")
    assert sorted(cache.near(KEY)) == [
        "there is an engine for sm_86, this machine has sm_90",
        "there is an engine in f32, not in fp16",
        "there is an engine of tensorrt 10.13, 11.4 is installed",
    ]


BUILDER = """
import sys, time
from pathlib import Path
from sdk.engines.cache import Cache
from tests_key import KEY
cache = Cache(Path(sys.argv[1]))
with cache.building(KEY):
    if cache.find(KEY) is None:
        with (cache.folder / "builds").open("a") as log:
            log.write(sys.argv[2] + "\\n")
        time.sleep(0.3)
        cache.put(KEY, bytes(5000))
print(cache.find(KEY).problem())
"""


def test_of_many_processes_one_builds_and_all_find_it(cache, repository, tmp_path):
    """A builder that was killed holds nothing up: the lock is the kernel's."""
    cache.folder.mkdir()
    (tmp_path / "tests_key.py").write_text(
        "from sdk.engines.cache import Key\nfrom sdk.engines.profile import Profile\nKEY = Key(source='ab', "
        "graph='native', module='t', version='1', precision='f32', profile=Profile(), target='sm_90')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{repository}:{tmp_path}"}
    commands = [[sys.executable, "-c", BUILDER, str(cache.folder), str(number)] for number in range(4)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [process.communicate(timeout=300)[0] for process in running] == ["None\n"] * 4
    assert len((cache.folder / "builds").read_text().splitlines()) == 1


def test_a_lock_that_was_removed_before_it_was_held_is_none(cache, monkeypatch):
    """As ``rm --all`` removes it between a builder's two calls."""
    taken, flock = [], fcntl.flock

    def slow(handle, how):
        taken.append(how)
        if len(taken) == 1:
            cache.forget()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with cache.building(KEY), (cache.folder / "locks" / KEY.digest).open("a") as other:
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not cache.forget()
    assert taken.count(fcntl.LOCK_EX) == 2


def test_what_is_kept_besides_engines_counts(cache):
    cache.graphs.mkdir(parents=True)
    (cache.graphs / "weights.bin").write_bytes(bytes(100))
    cache.cap = 200
    for number, age in ((0, 200), (1, 100)):
        entry = cache.put(dataclasses.replace(KEY, version=str(number)), bytes(60))
        os.utime(entry.file.with_suffix(".json"), (time.time() - age,) * 2)
    assert [entry.key.version for entry in cache.entries()] == ["1"]


def test_a_reader_never_sees_half_an_engine(cache, tmp_path, repository):
    """One process puts the same engine over and over while this one reads it."""
    content = os.urandom(1 << 20)
    cache.put(KEY, content)
    writer = (
        "import sys; from pathlib import Path\nfrom sdk.engines.cache import Cache\ncache = Cache(Path(sys.argv[1]))\n"
        "entry = cache.entries()[0]; content = entry.file.read_bytes()\n"
        "for _ in range(30): cache.put(entry.key, content)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(repository)}
    process = subprocess.Popen([sys.executable, "-c", writer, str(cache.folder)], env=environment)
    reads = 0
    while process.poll() is None or reads == 0:
        assert hashlib.sha256(cache.find(KEY).read()).digest() == hashlib.sha256(content).digest()
        reads += 1
    assert process.returncode == 0
