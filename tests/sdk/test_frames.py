"""Arrays and PIL images to frames; orientation."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageOps

from sdk.errors import BadFrame, DecodeFailed, MissingExtra, UnknownName, UnsupportedImage
from sdk.frames import as_frame, orientation_of, to_display

pictures = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7).map(lambda shape: (*shape, 3)))


@given(picture=pictures, orientation=st.integers(1, 8))
def test_to_display_is_what_pillow_shows(picture, orientation):
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(to_display(picture, orientation), np.array(ImageOps.exif_transpose(image)))


@given(heatmap=arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1, width=32)))
def test_to_display_keeps_every_value_of_a_heatmap(heatmap):
    for orientation in range(1, 9):
        shown = to_display(heatmap, orientation)
        assert shown.flags.c_contiguous
        assert shown.shape == (heatmap.shape if orientation < 5 else heatmap.shape[::-1])
        np.testing.assert_array_equal(np.sort(shown, axis=None), np.sort(heatmap, axis=None))


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_to_display_refuses_what_is_no_orientation(orientation):
    with pytest.raises(BadFrame, match=f"1 to 8, got {orientation}"):
        to_display(np.zeros((2, 2)), orientation)


@given(picture=pictures)
def test_bgr_is_rgb_backwards(picture):
    np.testing.assert_array_equal(as_frame(picture[:, :, ::-1], color="bgr"), as_frame(picture))


def test_a_right_frame_is_not_copied(rng):
    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    assert np.shares_memory(as_frame(frame), frame)
    assert as_frame(frame[::-1]).flags.c_contiguous


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_grey_is_repeated(shape, rng):
    grey = rng.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(as_frame(grey), np.repeat(grey.reshape(5, 4, 1), 3, axis=2))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_alpha_of_an_array_is_composited_on_white(color):
    array = np.array([[[200, 100, 0, 255], [200, 100, 0, 0]]], np.uint8)
    first = [200, 100, 0] if color == "rgb" else [0, 100, 200]
    assert as_frame(array, color=color).tolist() == [[first, [255, 255, 255]]]


@given(alpha=st.integers(0, 255), value=st.integers(0, 255))
def test_compositing_is_exact_to_one_level(alpha, value):
    pixel = as_frame(np.array([[[value, value, value, alpha]]], np.uint8))[0, 0, 0]
    assert abs(float(pixel) - (value * alpha + 255 * (255 - alpha)) / 255) <= 1


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), r"dtype float32\n  -> if its values are 0..1: \(255 \* array\)"),
        (np.zeros((4, 4, 3), np.uint16), r"dtype uint16\n  -> drop the low byte"),
        (np.zeros((4, 4, 3), ">u2"), r"dtype >u2\n  -> drop the low byte"),
        (np.zeros((4, 4, 3), np.bool_), r"dtype bool\n  -> convert it to uint8"),
        (np.zeros((3, 5, 6), np.uint8), r"shape \[3, 5, 6\]\n  -> channels come last"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \[1, 4, 4, 3\]\n  -> give one frame at a time"),
        (np.zeros((5, 4, 2), np.uint8), r"shape \[5, 4, 2\]\n  -> give rows, columns and 3 channels"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \[0, 4, 3\]\n  -> give a frame that has pixels"),
        ([[[1, 2, 3]]], "an array or a PIL image, got list"),
        (Image.new("RGB", (0, 3)), r"shape \[3, 0, 3\]"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_remedy(array, words):
    with pytest.raises(BadFrame, match=words):
        as_frame(array)


def test_colour_order_is_one_of_two():
    with pytest.raises(UnknownName, match="no colour order named 'bgra'\n  -> did you mean 'bgr'"):
        as_frame(np.zeros((2, 2, 3), np.uint8), color="bgra")


def test_dlpack_is_read_without_its_library(rng):
    class Foreign:
        """An array that offers nothing but DLPack."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **settings):
            return self.array.__dlpack__(**settings)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    np.testing.assert_array_equal(as_frame(Foreign(frame)), frame)


class Shown:
    """Memory of the host that is shown as NumPy shows its own; its DLPack needs a GPU that is not there."""

    def __init__(self, array):
        self.array = array

    @property
    def __array_interface__(self):
        return self.array.__array_interface__

    def __dlpack__(self):
        raise RuntimeError("no driver")

    def __dlpack_device__(self):
        return (1, 0)


def test_memory_that_is_shown_is_read_without_its_library_and_before_dlpack(rng):
    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    np.testing.assert_array_equal(as_frame(Shown(frame)), frame)
    np.testing.assert_array_equal(as_frame(Shown(frame[:, ::-1]), color="bgr"), frame[:, ::-1, ::-1])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), r"dtype float32\n  -> if its values are 0..1"),
        (np.zeros((3, 5, 6), np.uint8), r"shape \[3, 5, 6\]\n  -> channels come last"),
        (np.zeros((4, 4, 3), ">u2"), r"dtype >u2\n  -> drop the low byte"),
    ],
)
def test_shown_memory_is_held_to_what_arrays_are(array, words):
    with pytest.raises(BadFrame, match=words):
        as_frame(Shown(array))


@pytest.mark.parametrize("interface", [{}, "u1", {"shape": (2, 2, 3), "typestr": "nonsense", "version": 3}], ids=str)
def test_memory_that_is_shown_wrongly_is_refused(interface):
    with pytest.raises(BadFrame, match=r"cannot be read through __array_interface__: .*\n  -> give what numpy\.array"):
        as_frame(SimpleNamespace(__array_interface__=interface))


def test_torch_tensors_are_frames(rng):
    torch = pytest.importorskip("torch")
    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    np.testing.assert_array_equal(as_frame(torch.from_numpy(frame)), frame)
    with pytest.raises(BadFrame, match=r"cannot be read through DLPack.*\n  -> detach it"):
        as_frame(torch.zeros((2, 2, 3), requires_grad=True))


def test_an_array_on_another_device_is_refused():
    class Elsewhere:
        def __dlpack__(self):
            return None

        def __dlpack_device__(self):
            return (13, 0)

    with pytest.raises(BadFrame, match=r"not read here \(DLPack type 13\)\n  -> copy it to the host"):
        as_frame(Elsewhere())


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, BufferError])
def test_an_array_that_does_not_say_where_it_lies_is_refused(error):
    class Unwilling:
        def __dlpack__(self):
            return None

        def __dlpack_device__(self):
            raise error("on no device")

    with pytest.raises(BadFrame, match="cannot be read through DLPack: on no device"):
        as_frame(Unwilling())


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_subclasses_of_arrays_are_arrays(rng):
    grey = rng.integers(0, 256, (5, 4), np.uint8)
    for array in (np.asmatrix(grey), np.ma.masked_array(grey, grey > 9)):
        found = as_frame(array)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, as_frame(grey))


class OnGpu:
    """What a CUDA array shows of itself."""

    def __init__(self, array):
        self.array = array

    @property
    def __cuda_array_interface__(self):
        return self.array.__array_interface__


class WithGet(OnGpu):
    """CuPy and PyCUDA name their copy ``get``."""

    def get(self):
        return self.array


def test_cuda_arrays_copy_themselves(rng):
    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    np.testing.assert_array_equal(as_frame(WithGet(frame)), frame)


def test_a_cuda_array_that_cannot_copy_itself_needs_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings.runtime", None)
    said = r"needs the package cuda-bindings, which is not installed\n  -> pip install 'imdl-sdk\[gpu\]'"
    with pytest.raises(MissingExtra, match=said):
        as_frame(OnGpu(np.zeros((2, 2, 3), np.uint8)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_opaque_pil_images_keep_their_colours(mode):
    image = Image.new("RGB", (3, 2), (255, 255, 255))
    image.putpixel((1, 1), (0, 0, 0))
    np.testing.assert_array_equal(as_frame(image.convert(mode)), np.array(image))


def test_premultiplied_grey_is_composited_as_grey_is():
    grey = Image.new("LA", (3, 2), (200, 100))
    np.testing.assert_allclose(as_frame(grey.convert("La")).astype(int), as_frame(grey), atol=1)


def test_colour_order_is_for_arrays_only():
    assert as_frame(Image.new("RGB", (1, 1), (10, 20, 30)), color="bgr").tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize(("mode", "words"), [("F", "floating-point samples"), ("I", "32-bit integer samples")])
def test_pil_images_without_a_stated_range_are_refused(mode, words):
    with pytest.raises(UnsupportedImage, match=words):
        as_frame(Image.new(mode, (2, 2)))


def test_a_pil_image_whose_file_is_cut_off_is_an_error(rng):
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
    with pytest.raises(DecodeFailed, match="the PIL image cannot be decoded: image file is truncated"):
        as_frame(Image.open(io.BytesIO(buffer.getvalue()[:2000])))


def test_orientation_is_that_of_the_pil_image():
    image = Image.new("RGB", (3, 2))
    assert orientation_of(image) == 1
    for tag, expected in ((6, 6), (0, 1), (9, 1)):
        image.getexif()[0x0112] = tag
        assert orientation_of(image) == expected
    assert orientation_of(np.zeros((2, 2, 3), np.uint8)) == 1
