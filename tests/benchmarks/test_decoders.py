"""Decoders are held to the SDK's own by their pixels, and by nothing else."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks import decoders
from benchmarks.entry import RESULTS
from benchmarks.table import filled
from tests.sdk import toy
from tests.sdk.files import scene


@pytest.fixture
def photographs(tmp_path, rng):
    """Three JPEG files with chroma at full size, one turned by its tag, and what is none in colour."""
    folder = tmp_path / "photographs"
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, exif in (("a/0", turned), ("a/1", b""), ("b/0", b"")):
        file = folder / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(rng, 95, 133, high=200)).save(file, quality=70, subsampling=0, exif=exif)
    Image.new("L", (64, 64), 9).save(folder / "b" / "1.jpg")
    (folder / "b" / "2.jpg").write_bytes(b"none")
    return folder


def brighter() -> tuple[str, decoders.Decode]:
    """A decoder that is one level too bright everywhere, and nine in one place."""
    _, decode = decoders.pillow()

    def off(data: bytes) -> np.ndarray:
        frame = decode(data)
        assert frame.max() < 247
        frame += 1
        frame[0, 0, 0] += 8
        return frame

    return "brighter 1.0", off


def missing() -> tuple[str, decoders.Decode]:
    raise ImportError("No module named 'decoder'")


def test_photographs_come_in_turns_from_every_folder(photographs):
    found = decoders.photographs(photographs, 3)
    assert [str(path.relative_to(photographs)) for path in found] == ["a/0.jpg", "b/0.jpg", "a/1.jpg"]


def test_what_differs_is_told_of_pixels_scores_and_verdicts(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        decoders, "DECODERS", {"Pillow": decoders.pillow, "OpenCV": decoders.opencv, "off": brighter, "gone": missing}
    )
    at = ["--photographs", str(photographs), "--artifact", str(toy.build(tmp_path / "toy")), "--results", str(tmp_path)]
    monkeypatch.setattr(
        decoders,
        "FILM_DECODERS",
        {"repeated": decoders.chroma_repeated, "matrix": decoders.matrix_mistaken, "OpenCV": decoders.opencv_capture},
    )
    decoders.main([*at, "--count", "3"])
    assert capsys.readouterr().err == "gone is left out: No module named 'decoder'\n"
    (path,) = tmp_path.glob("decoders-*-cpu.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["photographs"], result["left_out"]) == (3, ["gone"])
    pillow, _, off = result["decoders"]
    assert (pillow["identical"], pillow["scores"]["max"], pillow["verdicts_changed"]) == (3, 0, 0)
    assert (off["identical"], off["pixels"]["max"]) == (0, 9)
    assert off["pixels"]["mean"] == pytest.approx(1 + 8 / (3 * 95 * 133), rel=1e-3)
    assert 0 < off["scores"]["mean"] <= off["scores"]["p95"] <= off["scores"]["max"] < 0.01
    repeated, matrix, opencv = result["film_decoders"]
    assert repeated["pixels"]["mean"] < matrix["pixels"]["mean"]
    assert opencv["pixels"]["max"] <= 2
    assert result["film_own"].startswith("FFmpeg libavcodec ")
    assert "BT.709, limited range" in result["film_own"]
    table = filled("<!-- table: decoders -->\n<!-- /table -->", tmp_path)
    assert "| brighter 1.0 | 0 | 1.000 | 9 | 0.00" in table
    assert "| H.264, chroma repeated | 0 | " in table
    assert "3 JPEG files and as many frames of H.264 made of them, `toy` 0.1 in f32. " in table


def test_a_folder_with_too_few_is_refused(photographs, capsys):
    with pytest.raises(SystemExit, match="2"):
        decoders.main(["--photographs", str(photographs), "--count", "4"])
    assert "holds 3 JPEG files in colour: give another folder or --count" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["OpenCV", "PyAV", "nvImageCodec, CPU"])
def test_every_decoder_gives_the_frame_as_it_is_stored(photographs, name):
    try:
        _, decode = decoders.DECODERS[name]()
    except ImportError as error:
        pytest.skip(str(error))
    file = photographs / "a" / "0.jpg"
    frame, stored = decode(file.read_bytes()), np.asarray(Image.open(file))
    assert frame.dtype == np.uint8
    assert frame.shape == stored.shape
    assert cv2.absdiff(frame, stored).mean() < 0.2


def test_whoever_interpolates_chroma_as_libjpeg_turbo_does_was_found_to_give_the_same_pixels():
    result = json.loads((RESULTS / "decoders-psccnet-lite-cpu.json").read_text(encoding="utf-8"))
    assert (result["photographs"], result["left_out"]) == (60, [])
    apart = {row["decoder"]: (row["pixels"]["max"], row["scores"]["max"]) for row in result["decoders"]}
    assert list(apart) == list(decoders.DECODERS)
    assert [name for name, most in apart.items() if most == (0, 0)] == ["Pillow", "OpenCV", "nvImageCodec, CPU"]
    assert all(row["scores"]["max"] > 0.3 for row in result["decoders"] if row["identical"] < 60)
    assert not any(row["verdicts_changed"] for row in result["decoders"])


def test_films_of_grey_are_the_same_by_every_right_conversion(rng):
    written = io.BytesIO()
    grey = cv2.GaussianBlur(scene(rng, 64, 96, high=256)[..., 0], (9, 9), 0)
    Image.fromarray(grey).save(written, "png")
    film = decoders.film(written.getvalue())
    own = decoders.filmed(film)
    assert own.is_video
    for opened in (decoders.chroma_repeated, decoders.opencv_capture, decoders.matrix_mistaken):  # chroma alone differs
        _, decode = opened()
        assert cv2.absdiff(decode(film), np.asarray(own.frame)).max() <= 2, opened
    _, decode = decoders.range_mistaken()
    np.testing.assert_allclose(decode(film), 16 + np.asarray(own.frame) * (219 / 255), atol=2)
