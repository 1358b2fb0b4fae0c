"""Photographs: what is held out stays out, weights keep a large folder from swamping a small one."""

from __future__ import annotations

import hashlib
import pickle
from collections import defaultdict

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

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
from training.errors import NoPhotographs, Undecodable


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


def album(folder, count=6):
    """Pictures without a listing, two of them in a folder of their own, one with a label map."""
    rng = np.random.default_rng(11)
    for index in range(count):
        place = folder / "more" if index < 2 else folder
        (place / "masks").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (60 + index, 70, 3), dtype=np.uint8)
        cv2.imwrite(str(place / f"{index}.{'png' if index % 2 else 'JPG'}"), pixels)
    cv2.imwrite(str(folder / "masks" / "4.png"), np.full((64, 70), 300, np.uint16))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_any_folder_of_photographs_will_do(tmp_path):
    source = Photographs(album(tmp_path / "album"), "all")
    names = ["album/2.JPG", "album/3.png", "album/4.JPG", "album/5.png", "album/more/0.JPG", "album/more/1.png"]
    assert [row.file for row in source.rows] == names
    labels = [source.pixels(index)[1] for index in range(6)]
    assert [found is not None for found in labels] == [False, False, True, False, False, False]
    assert (labels[2] == 255).all()
    assert Samples(source, seed=1, size=64)[3][0].shape == (64, 64, 3)


def test_without_a_listing_the_name_decides_who_validates(tmp_path):
    folder = album(tmp_path / "album", count=40)
    train, validation = (Photographs(folder, part).rows for part in ("train", "validation"))
    assert {row.file for row in train} | {row.file for row in validation} == {row.file for row in rows(folder)}
    assert not {row.file for row in train} & {row.file for row in validation}
    moved = folder.rename(tmp_path / "moved")
    names = {row.file.split("/", 1)[1] for row in validation}
    assert {row.file.split("/", 1)[1] for row in Photographs(moved, "validation").rows} == names


def test_a_listing_of_ones_own_has_cameras_held_out_too():
    listed = [row("mine", str(index), f"Maker {index // 3}") for index in range(300)]
    parts = check_disjoint(listed)
    assert 10 < sum(part == "validation" for part in parts.values()) < 80
    assert set(parts.values()) == {"train", "validation"}


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_folders_without_photographs_are_refused(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoPhotographs, match=r"no photograph in .*\n  -> give a folder"):
        Photographs(tmp_path / place, "train")


def test_a_listing_without_files_is_refused(tmp_path):
    (tmp_path / "SOURCES.csv").write_text("picture\na.jpg\n")
    with pytest.raises(NoPhotographs, match="no column 'file'"):
        Photographs(tmp_path, "train")


def test_an_empty_part_is_refused(photographs):
    with pytest.raises(NoPhotographs, match="none is in part 'demo'"):
        Photographs(photographs, "demo")


def test_what_is_named_like_a_picture_has_to_be_one(tmp_path):
    (album(tmp_path / "album") / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(Undecodable, match=r"broken\.jpg cannot be decoded\n  -> "):
        Photographs(tmp_path / "album", "all")


def test_a_picture_cut_short_is_named_when_it_is_drawn(tmp_path):
    folder = album(tmp_path / "album", count=3)
    whole = (folder / "2.JPG").read_bytes()
    (folder / "2.JPG").write_bytes(whole[:300])  # the header is there, the pixels are not
    with pytest.raises(Undecodable, match=r"2\.JPG cannot be decoded"):
        Photographs(folder, "all").pixels(0)


def test_a_label_map_of_another_size_is_refused(tmp_path):
    folder = album(tmp_path / "album")
    cv2.imwrite(str(folder / "masks" / "4.png"), np.ones((10, 12), np.uint8))
    with pytest.raises(Undecodable, match=r"4\.png is 12x10, its photograph 70x64"):
        Photographs(folder, "all").pixels(2)


def test_a_photograph_smaller_than_the_window_grows(rng):
    pixels = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    for _ in range(8):
        assert window(pixels, None, rng, 48)[0].shape == (48, 48, 3)


def test_label_maps_beside_photographs_are_no_photographs(tmp_path):
    for name in ("a.jpg", "a.mask.png", "masks/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    assert [listed.file for listed in rows(tmp_path)] == [f"{tmp_path.name}/a.jpg"]
