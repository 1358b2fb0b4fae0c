"""Shards: what was written is what is read, the same bytes every time, and damage is named."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from training.errors import NoPhotographs, Undecodable
from training.synthesis.sample import Sample
from training.synthesis.shards import Shards, write, write_folder


def made(index):
    rng = np.random.default_rng(index)
    frame = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return Sample(frame, rng.random((20, 20)) < 0.1 * (index % 2), {"kind": "splice", "life": ["jpeg 80"]})


def test_what_was_written_is_read_in_any_order(tmp_path):
    write_folder(tmp_path, made, count=7, shards=3)
    read = Shards(tmp_path)
    assert len(read) == 7
    for index in (6, 0, 3):
        expected, sample = made(index), read.sample(index)
        np.testing.assert_array_equal(sample.frame, expected.frame)
        np.testing.assert_array_equal(sample.mask, expected.mask)
        assert sample.recipe == {**expected.recipe, "index": index, "label": expected.label}


def test_the_same_samples_make_the_same_bytes(tmp_path):
    for name in ("a.tar", "b.tar"):
        write(tmp_path / name, ((index, made(index)) for index in range(3)))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames()[:3] == ["000000.png", "000000.mask.png", "000000.json"]


@pytest.mark.parametrize("shards", [0, 4])
def test_no_shard_is_empty(tmp_path, shards):
    with pytest.raises(ValueError, match=rf"cannot spread 3 samples over {shards} shards"):
        write_folder(tmp_path, made, count=3, shards=shards)


def test_shards_of_another_set_are_not_mixed_in(tmp_path):
    write_folder(tmp_path, made, count=3, shards=3)
    write_folder(tmp_path, made, count=3, shards=3)
    with pytest.raises(ValueError, match=r"holds shard-00002\.tar of another set of shards\n  -> write to an empty"):
        write_folder(tmp_path, made, count=3, shards=2)


def test_the_millionth_sample_comes_after_the_one_before(tmp_path):
    write(tmp_path / "a.tar", [(index, made(index)) for index in (999_999, 1_000_000)])
    assert [recipe["index"] for recipe in Shards(tmp_path).recipes()] == [999_999, 1_000_000]


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(NoPhotographs, match="it holds no shard"):
        Shards(tmp_path)


def test_a_file_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(Undecodable, match=r"a\.tar cannot be decoded"):
        Shards(tmp_path)


def test_a_sample_that_lacks_a_part_is_named(tmp_path):
    write(tmp_path / "a.tar", [(4, made(4))])
    with tarfile.open(tmp_path / "a.tar") as whole, tarfile.open(tmp_path / "b.tar", "w") as cut:
        for member in whole.getmembers()[:2]:
            cut.addfile(member, whole.extractfile(member))
    (tmp_path / "a.tar").unlink()
    with pytest.raises(Undecodable, match=r"b\.tar lacks 000004\.json"):
        Shards(tmp_path)
