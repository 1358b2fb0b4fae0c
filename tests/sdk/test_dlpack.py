"""What DLPack tells of an array, judged by NumPy, whose capsules are those of every library."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.cuda_arrays import View, view
from sdk.dlpack import dense, described, is_on_cuda
from sdk.errors import BadFrame


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "f8", "?"])
@pytest.mark.parametrize("key", [np.s_[:], np.s_[1:, ::2], np.s_[::-1, 1], np.s_[:0]], ids=str)
def test_address_shape_and_strides_are_numpys(dtype, key):
    array = np.zeros((4, 6, 3), dtype)[key]
    found = described(array)
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    if array.size:
        assert (found.address, found.strides) == (array.ctypes.data, array.strides)


def test_elements_that_numpy_has_not_are_refused():
    with pytest.raises(BadFrame, match="DLPack's type 5 of 64 bits"):
        described(np.zeros(3, np.complex64))


@given(shape=st.lists(st.integers(1, 5), max_size=4).map(tuple))
def test_dense_strides_are_numpys(shape):
    assert dense(shape, 4) == np.empty(shape, np.float32).strides


@pytest.mark.parametrize("error", [AttributeError, RuntimeError])
def test_what_cannot_say_where_it_is_is_on_no_gpu(error):
    class Broken:
        def __dlpack__(self, *, stream=None):
            """Never asked."""

        def __dlpack_device__(self):
            raise error("no device")

    assert not is_on_cuda(Broken())
    assert not is_on_cuda(np.zeros(3))


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), gap=st.integers(0, 9), first=st.integers(1, 3))
def test_pieces_are_all_of_the_bytes_and_no_others(rows, columns, gap, first):
    """Copying them one after the other gives what NumPy gives, whichever axes have one element."""
    store = np.arange(first * rows * (columns * 3 + gap), dtype=np.int64)
    lines = store.reshape(first * rows, columns * 3 + gap)[:, : columns * 3]
    array = np.lib.stride_tricks.as_strided(
        lines, (first, rows, columns, 3), (rows * lines.strides[0], lines.strides[0], 24, 8)
    )
    seen = View(array.ctypes.data, array.shape, array.strides, array.dtype, 0, array)
    if (found := seen.pieces()) is None:
        assert gap and first > 1 and rows > 1
        return
    count, length, pitch = found
    copied = b"".join(store.tobytes()[piece * pitch : piece * pitch + length] for piece in range(count))
    assert copied == array.tobytes()


@pytest.mark.parametrize("strides", [(30, -3, 1), (30, 4, 1), (30, 3, -1), (-30, 3, 1), (0, 3, 1)], ids=str)
def test_scattered_pixels_are_no_pieces(strides):
    assert View(0, (5, 10, 3), strides, np.dtype(np.uint8), 0, None).pieces() is None


def test_dlpack_is_preferred_and_told_the_stream():
    asked = []

    class Both:
        __cuda_array_interface__ = {"data": (1, False), "shape": (1,), "typestr": "|u1", "version": 2}  # noqa: RUF012
        array = np.zeros((2, 2, 3), np.uint8)

        def __dlpack__(self, *, stream):
            asked.append(stream)
            return self.array.__dlpack__()

        def __dlpack_device__(self):
            return 2, 0

    found = view(Both(), stream=77)
    assert (asked, found.address, found.stream) == ([77], Both.array.ctypes.data, 0)
    shown = SimpleNamespace(__cuda_array_interface__=Both.__cuda_array_interface__)
    assert (view(shown, stream=77).stream, view(shown, stream=77).strides) == (None, (1,))
