"""One frame per photograph, and what a clip makes of it."""

from __future__ import annotations

import cv2
import numpy as np

from training import heldout
from training.data import Photographs


def test_one_frame_per_photograph(photographs) -> None:
    held_out = Photographs(photographs, "validation")
    frames = heldout.Authentic(held_out)
    assert len(frames) == len(list(frames)) == len({row.source_path for row in held_out.rows})
    assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame in frames)


def test_video_keeps_the_scene_changes_the_pixels_and_is_the_same_every_time(rng) -> None:
    frame = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (91, 60), interpolation=cv2.INTER_CUBIC)
    coded = [heldout.as_video(frame, seed=1, index=index) for index in (0, 0, 1)]
    assert coded[0].shape == frame.shape
    assert 0 < np.abs(coded[0].astype(int) - frame).mean() < 25
    np.testing.assert_array_equal(coded[0], coded[1])
    assert (coded[0] != coded[2]).any()


def test_a_clip_is_no_larger_than_full_hd(monkeypatch) -> None:
    monkeypatch.setattr(heldout, "CLIP_PIXELS", 60 * 40)
    height, width = heldout.as_video(np.full((120, 200, 3), 90, np.uint8), seed=1, index=0).shape[:2]
    assert (height, width) == (38, 63)


def test_sizes_that_come_to_the_same_are_made_once() -> None:
    asked = []

    def make(size: int) -> str:
        asked.append(size)
        return f"at {size}"

    found = heldout.at_each(np.zeros((768, 500, 3), np.uint8), (512, 768, 1024, 0), make)
    assert asked == [512, 0]
    assert found == {512: "at 512", 768: "at 0", 1024: "at 0", 0: "at 0"}
