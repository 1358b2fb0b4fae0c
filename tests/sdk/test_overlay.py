"""Overlays are legible at any size, change nothing where nothing was found, and are written whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdk import overlay
from sdk.errors import BadSetting, UnsupportedImage
from tests.sdk.test_results import analysis


@pytest.mark.parametrize("size", [(1, 1), (33, 40), (90, 60), (540, 960), (1500, 60), (60, 1500)], ids=str)
def test_any_size_is_drawn_with_a_legend_below(rng, size):
    heatmap = rng.uniform(0, 1, size).astype(np.float32)
    picture = overlay.draw(analysis(heatmap))
    assert picture.dtype == np.uint8
    factor = picture.shape[1] // size[1]
    assert picture.shape[1] == factor * size[1]
    assert factor * size[0] < picture.shape[0]


@pytest.mark.parametrize("size", [(1, 1400), (1400, 1), (2, 900), (20, 300)], ids=str)
def test_thin_frames_stay_small(size):
    assert overlay.draw(analysis(np.zeros(size, np.float32))).size < 4e6


def test_where_nothing_was_found_the_frame_is_untouched(rng):
    frame = rng.integers(0, 256, (400, 500, 3), np.uint8)
    for heatmap in (None, np.zeros((400, 500), np.float32)):
        picture = overlay.draw(analysis(heatmap, pixels=frame))
        np.testing.assert_array_equal(picture[:400], frame)


def test_the_mask_is_outlined_and_the_result_not_drawn_on():
    heatmap = np.zeros((400, 500), np.float32)
    heatmap[100:200, 100:300] = 0.8
    found = analysis(heatmap)
    picture = overlay.draw(found)
    assert picture[100, 200].min() > 200
    assert (picture[150, 200] != 0).any()
    assert not picture[300:400].any()
    assert not found.frame.any()


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP")]
)
def test_the_suffix_says_the_format_and_folders_are_made(tmp_path, name, kind):
    path = analysis(np.ones((400, 500), np.float32)).save_overlay(tmp_path / "deep" / "er" / name)
    with Image.open(path) as picture:
        assert picture.format == kind
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UnsupportedImage, match=r"as \.bmp\n  -> use one of: \.png"):
        analysis().save_overlay(tmp_path / "a.bmp")


@pytest.mark.parametrize("path", [None, 3, b"a.png"], ids=repr)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(BadSetting, match=f"written to {path!r}\n  -> give the path of a file: photo-overlay.png"):
        analysis().save_overlay(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(self, target, *_, **__):
        target.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        analysis().save_overlay(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
