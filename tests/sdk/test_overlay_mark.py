"""Every overlay is known by its mark, whatever it is called, and nothing else is taken for one."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from sdk.overlay import FORMATS, write
from sdk.overlay_mark import is_overlay


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_overlay_is_known_by_its_content(tmp_path, rng, suffix):
    picture = rng.integers(0, 256, (90, 80, 3), np.uint8)
    assert is_overlay(write(picture, tmp_path / f"photo{suffix}"))
    Image.fromarray(picture).save(tmp_path / f"photo.overlay{suffix}")
    assert not is_overlay(tmp_path / f"photo.overlay{suffix}")


def test_what_cannot_be_read_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("pipe", "empty", "nothing", "a" * 300, "a\0b", "."):
        assert not is_overlay(tmp_path / name)
