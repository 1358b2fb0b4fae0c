"""Photographs: what is held out stays out, weights keep a large folder from swamping a small one."""

from __future__ import annotations

import hashlib
import pickle
from collections import defaultdict

import numpy as np
import pytest
import torch

from training.data import (
    DEMO_STEMS,
    HALVED_FOLDERS,
    VALIDATION_FOLDERS,
    Photographs,
    Row,
    Samples,
    held_out_by_hash,
    rows,
    split,
    weights,
    window,
)


def row(folder, name, camera):
    return Row(f"train/{folder}/images/{name}.jpg", "", f"jpg/{name}.jpg", camera)


def test_no_camera_and_no_photograph_is_in_two_parts(photographs):
    check_disjoint(rows(photographs))


def test_the_real_photographs_are_held_out_by_source_and_camera(shared_data):
    listed = rows(shared_data / "train")
    parts = check_disjoint(listed)
    assert sum(part == "validation" for part in parts.values()) >= 150
    assert all(parts[r.file] != "train" for r in listed if r.folder in VALIDATION_FOLDERS)
    demo = [r for r in listed if any(f"/{stem}." in r.source_path for stem in DEMO_STEMS)]
    assert len(demo) == len(DEMO_STEMS)
    assert all(parts[r.file] == "demo" for r in demo)


def check_disjoint(listed):
    parts = split(listed)
    for key in ("camera_key", "source_path"):
        seen = defaultdict(set)
        for r in listed:
            seen[getattr(r, key)].add(parts[r.file])
        assert all(len(found) == 1 for found in seen.values())
    return parts


def test_a_camera_is_held_out_by_the_first_byte_of_its_hash():
    for camera in ("canon eos 7d", "nikon e950", "sony dsc-t5"):
        assert held_out_by_hash(camera) == (hashlib.sha256(camera.encode()).digest()[0] % 2 == 0)


def test_demo_cameras_are_neither_trained_on_nor_validated():
    listed = [
        row(HALVED_FOLDERS[0], "Nikon E950", "NIKON E950"),
        row(HALVED_FOLDERS[1], "another", "Nikon  E950"),
        row("lire_cc", "third", "nikon e950"),
        row("lire_cc", "fourth", ""),
        row("ccp", "fifth", ""),
    ]
    assert list(split(listed).values()) == ["demo", "demo", "demo", "validation", "train"]


def test_a_camera_of_a_validation_folder_is_held_out_everywhere():
    listed = [row("lire_cc", "a", "Maker X"), row("elementary_crops", "b", "MAKER  x")]
    assert set(split(listed).values()) == {"validation"}


def test_folders_weigh_by_the_root_of_their_size_and_cameras_double():
    listed = [row("ccp", str(i), "") for i in range(16)] + [row("coco_tiny", str(i), "") for i in range(4)]
    share = weights(listed)
    assert share[:16].sum() == pytest.approx(2 * share[16:].sum())
    cameras = weights([row("ccp", "a", ""), row("ccp", "b", "Maker")])
    assert cameras[1] == pytest.approx(2 * cameras[0])


def test_samples_do_not_depend_on_the_process_or_the_order(photographs):
    samples = Samples(Photographs(photographs, "train"), seed=1, size=48, ramp=10)
    there = pickle.loads(pickle.dumps(samples))
    for index in (7, 0, 30):
        for a, b in zip(samples[index], there[index], strict=True):
            assert torch.equal(a, b)


def test_hardness_rises_with_the_ramp(photographs):
    source = Photographs(photographs, "train")
    ramped, hard = (Samples(source, seed=1, size=48, ramp=ramp) for ramp in (50, 0))
    assert any(not torch.equal(ramped[i][0], hard[i][0]) for i in range(5))
    assert all(torch.equal(ramped[i][0], hard[i][0]) for i in range(50, 55))


def test_small_photographs_are_enlarged(photographs):
    assert Photographs(photographs, "train").crop(np.random.default_rng(0), 200).frame.shape == (200, 200, 3)


def test_a_folder_without_a_listing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no SOURCES\.csv"):
        Photographs(tmp_path, "train")


def test_an_empty_part_is_refused(photographs):
    with pytest.raises(ValueError, match=r"no photograph of .* is in part 'demo'"):
        Photographs(photographs, "demo")


def test_a_photograph_smaller_than_the_window_grows(rng):
    pixels = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    for _ in range(8):
        assert window(pixels, None, rng, 48)[0].shape == (48, 48, 3)
