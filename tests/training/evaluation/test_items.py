"""Every layout of a folder, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.evaluation import items


def picture(path, value, shape=(8, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), value, np.uint8))


def white_left(path, shape=(8, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 255
    cv2.imwrite(str(path), mask)


def test_a_listed_folder_keeps_sets_apart(data):
    found = items.read(data)
    assert [item.group for item in found] == ["one"] * 6 + ["two"] * 6
    for index, item in enumerate(found):
        frame, truth = item.load()
        assert frame.shape == (48, 64, 3)
        assert item.label == bool(index % 2) == bool(truth.any())


def test_where_copy_and_source_are_told_apart_only_the_copy_counts(tmp_path):
    picture(tmp_path / "dev/a.png", 9)
    white_left(tmp_path / "dev/copy.png")
    cv2.imwrite(str(tmp_path / "dev/both.png"), np.full((8, 10), 255, np.uint8))
    listing = "file,set,role,mask,mask_target\ndev/a.png,s,tampered,dev/both.png,dev/copy.png\n"
    (tmp_path / "dev/SOURCES.csv").write_text(listing)
    assert items.read(tmp_path / "dev")[0].load()[1].mean() == 0.5


def test_images_csv_needs_only_one_column_and_knows_labels_without_masks(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.jpg", 50)
    white_left(tmp_path / "b.png", shape=(16, 20))
    (tmp_path / "images.csv").write_text("image,mask,label\na.jpg,,\nb.jpg,b.png,\nc.jpg,,manipulated\n")
    authentic, masked, labelled = items.read(tmp_path)
    assert (authentic.label, masked.label, labelled.label) == (False, True, True)
    assert not authentic.load()[1].any()
    assert masked.load()[1].shape == (8, 10)
    assert masked.load()[1].mean() == 0.5
    assert labelled.load()[1] is None


def test_folders_pair_by_stem_and_authentic_ones_have_a_folder(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 50)
    picture(tmp_path / "images" / "b.png", 50)
    white_left(tmp_path / "masks" / "a.png")
    picture(tmp_path / "authentic" / "c.jpg", 50)
    found = {item.name: item.label for item in items.read(tmp_path)}
    assert found == {"images/a.jpg": True, "images/b.png": False, "authentic/c.jpg": False}


def test_synthetic_samples_are_the_same_on_every_read(photographs):
    first, again = (items.synthetic(photographs, count=6, size=48) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.load()[0], other.load()[0])
        np.testing.assert_array_equal(one.load()[1], other.load()[1])


def test_large_reads_headers(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 50, shape=(20, 40))
    picture(tmp_path / "images" / "b.jpg", 50, shape=(20, 30))
    assert [item.name for item in items.large(items.read(tmp_path), over=35)] == ["images/a.jpg"]


def test_refusals_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"holds neither SOURCES\.csv, images\.csv nor images/\n  -> put images into"):
        items.read(tmp_path)
    picture(tmp_path / "a.jpg", 50)
    (tmp_path / "images.csv").write_text("image,label\na.jpg,fake\n")
    with pytest.raises(ValueError, match=r"calls a\.jpg 'fake'\n  -> write manipulated or authentic"):
        items.read(tmp_path)
    (tmp_path / "images.csv").write_text("image\na.jpg\n")
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot decode .*a\.jpg\n  -> take it out"):
        items.read(tmp_path)[0].load()


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("file,mask\na.png,\n", r"images\.csv has no column image\n  -> add it"),
        ("image,mask\n", r"lists no image\n  -> put images into"),
        ("image,mask\nb.png,\n", r"b\.png is listed and not there\n  -> correct"),
        ("image,mask\na.png,m.png\n", r"m\.png is listed and not there\n  -> correct"),
    ],
)
def test_a_listing_is_checked_before_anything_is_analysed(tmp_path, listing, words):
    picture(tmp_path / "a.png", 50)
    (tmp_path / "images.csv").write_text(listing)
    with pytest.raises(ValueError, match=words):
        items.read(tmp_path)


def test_the_listing_of_photographs_for_training_is_none_of_images(photographs):
    with pytest.raises(ValueError, match=r"SOURCES\.csv has no column set, role\n  -> add"):
        items.read(photographs)


def test_a_mask_named_otherwise_than_its_image_is_not_passed_over(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 50)
    white_left(tmp_path / "masks" / "a_gt.png")
    with pytest.raises(ValueError, match=r"masks/a_gt\.png belongs to no image\n  -> name a mask like its image"):
        items.read(tmp_path)


def test_a_mask_of_zeros_and_ones_is_not_taken_for_black(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 50)
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.eye(8, 10, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"a\.png holds 0 and 1, hence nothing white\n  -> write 255"):
        items.read(tmp_path)[0].load()


def test_the_folder_one_stands_in_has_a_name(data, monkeypatch):
    monkeypatch.chdir(data)
    assert items.read(Path())[1].load()[1].any()
    (data.parent / "images.csv").write_text("image\ndev/one/0.png\n")
    monkeypatch.chdir(data.parent)
    assert [item.group for item in items.read(Path())] == [data.parent.name]
