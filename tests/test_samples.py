"""The demo's photographs: unchanged, credited, without a place, and as manipulated as they say."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "sdk" / "samples"
SAMPLES = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
GPS_TAG = 0x8825
by_file = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["file"])


def test_four_authentic_and_one_of_each_family():
    kinds = Counter(sample["kind"] for sample in SAMPLES)
    assert kinds == {"authentic": 4, "splice": 1, "copy-move": 1, "removal": 1, "enhancement": 1}


def test_the_folder_holds_what_is_listed_and_stays_small():
    listed = {sample["file"] for sample in SAMPLES} | {sample["mask"] for sample in SAMPLES} - {None}
    files = [path for path in FOLDER.iterdir() if path.suffix in {".jpg", ".png"}]
    assert {path.name for path in files} == listed
    assert sum(path.stat().st_size for path in files) < 3_000_000


@by_file
def test_bytes_and_size_are_those_recorded(sample):
    path = FOLDER / sample["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sample["sha256"]
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (sample["width"], sample["height"]))


@by_file
def test_no_place_is_recorded(sample):
    with Image.open(FOLDER / sample["file"]) as image:
        assert not image.getexif().get_ifd(GPS_TAG)


@by_file
def test_source_recipe_credit_and_licence_are_given(sample):
    assert all(sample[field] for field in ("title", "sources", "recipe", "credit", "licence"))
    assert (sample["seed"] is None) == (sample["kind"] == "authentic")


@by_file
def test_mask_marks_a_part_of_a_manipulated_photograph(sample):
    if sample["kind"] == "authentic":
        assert sample["mask"] is None
        return
    mask = cv2.imread(str(FOLDER / sample["mask"]), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (sample["height"], sample["width"])
    assert set(np.unique(mask)) == {0, 255}
    assert 0.02 < (mask > 0).mean() < 0.2
