"""Arrays and PIL images to frames, and frames to display orientation."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdk import jpeg_quality, pillow
from sdk.cuda_arrays import is_on_gpu, to_host
from sdk.dlpack import OnDlpack
from sdk.errors import BadFrame, DecodeFailed, UnknownName
from sdk.limits import Limits, check_pixels

Color: TypeAlias = Literal["rgb", "bgr"]


Element = TypeVar("Element", bound=np.generic)
HOST_DEVICES = (1, 3)
"""DLPack device types whose memory the processor reads: CPU and pinned host memory."""


def as_frame(source: object, *, color: Color = "rgb") -> NDArray[np.uint8]:
    """``source`` as a frame: uint8 RGB [H, W, 3], contiguous.

    Takes uint8 arrays [H, W, 3], [H, W, 4] (alpha is composited on white, as for files), [H, W] and [H, W, 1] (grey,
    repeated), from NumPy or through ``__array_interface__``, DLPack or ``__cuda_array_interface__``; and PIL images of
    any mode that is read from files.
    ``color`` is the channel order of an array; PIL images know theirs. A frame that is already right is not copied.
    Nothing is turned: see :func:`orientation_of`.
    """
    return convert(source, color=color)[0]


def convert(
    source: object, *, color: Color = "rgb", limits: Limits | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """:func:`as_frame`, and what was done to get there; the notes are those of files, and so is the limit on pixels."""
    if color not in ("rgb", "bgr"):
        raise UnknownName("colour order", color, ("rgb", "bgr"))
    limits = limits or Limits()
    if isinstance(source, Image.Image):
        check_pixels("the PIL image", source.size, limits, decoded=True)
        array, notes = _pil_array(source)
        color = "rgb"
    else:
        array, notes = _host_array(source), []
    if array.dtype != np.uint8:
        raise BadFrame(f"a frame has 8-bit samples 0..255, got dtype {array.dtype}", remedy=_dtype_remedy(array.dtype))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise BadFrame(f"a frame is [H, W, 3], got shape {list(array.shape)}", remedy=_shape_remedy(array.shape))
    check_pixels("the array", (array.shape[1], array.shape[0]), limits, decoded=True)
    frame, more = _rgb(array, color)
    return frame, [*notes, *more]


def orientation_of(source: object) -> int:
    """EXIF orientation of a PIL image, 1 to 8, and 1 for every other source.

    To be asked after :func:`as_frame`: Pillow turns a TIFF upright, and drops its tag, when it loads the pixels.
    """
    return pillow.orientation_of(source) if isinstance(source, Image.Image) else 1


def quality_of(source: object) -> int | None:
    """Quality of a PIL image that was opened from a JPEG, 1 to 100, and None for every other source."""
    return jpeg_quality.quality_of(source) if isinstance(source, Image.Image) else None


def to_display(array: NDArray[Element], orientation: int) -> NDArray[Element]:
    """A stored array [H, W, ...] as it is to be shown, by EXIF ``orientation`` 1 to 8; 5 to 8 swap height and width."""
    if not 1 <= orientation <= 8:
        raise BadFrame(f"an EXIF orientation is 1 to 8, got {orientation}", remedy="use 1 where there is none")
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    return np.ascontiguousarray(array)


def _rgb(array: NDArray[np.uint8], color: Color) -> tuple[NDArray[np.uint8], list[str]]:
    """[H, W, 1 | 3 | 4] in ``color`` order to contiguous [H, W, 3] RGB, and notes."""
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2), []
    if color == "bgr":
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]
    array = np.ascontiguousarray(array)
    if array.shape[2] == 3:
        return array, []
    image, notes = pillow.to_rgb(Image.fromarray(array))
    return np.array(image), notes


def _pil_array(image: Image.Image) -> tuple[NDArray[np.uint8], list[str]]:
    try:
        rgb, notes = pillow.to_rgb(image)
        return np.array(rgb), notes
    except (OSError, SyntaxError, ValueError) as error:  # an image that was opened and not yet loaded
        raise DecodeFailed(
            f"the PIL image cannot be decoded: {pillow.readable(error)}",
            remedy="the file behind it is damaged; fetch it again from its source",
        ) from error


def _host_array(source: object) -> NDArray[Any]:
    if isinstance(source, np.ndarray):
        return np.asarray(source)  # of a matrix or a masked array what every array has
    if is_on_gpu(source):
        try:
            return to_host(source)
        except (RuntimeError, TypeError, ValueError, BufferError) as error:
            raise _unreadable(error) from error
    if _shows_memory(source):  # before DLPack: some decoders offer it without a GPU, too, and fail in its driver
        try:
            return np.asarray(source)
        except Exception as error:  # NumPy's own, and whatever somebody else's property raises
            raise BadFrame(
                f"the array cannot be read through __array_interface__: {error}",
                remedy="give what numpy.array makes of it, with uint8 samples",
            ) from error
    if not isinstance(source, OnDlpack):
        raise BadFrame(
            f"a frame is an array or a PIL image, got {type(source).__name__}",
            remedy="give a path, bytes (of an open file: what its read() returns), a uint8 array [H, W, 3], a PIL "
            "image, or what offers __array_interface__, DLPack or __cuda_array_interface__",
        )
    try:
        kind = int(source.__dlpack_device__()[0])
        array = np.from_dlpack(cast(Any, source)) if kind in HOST_DEVICES else None
    except (RuntimeError, TypeError, ValueError, BufferError) as error:
        raise _unreadable(error) from error
    if array is None:
        raise BadFrame(
            f"the array lies on a device that is not read here (DLPack type {kind})", remedy="copy it to the host first"
        )
    return array


def _shows_memory(source: object) -> bool:
    """Whether ``source`` shows memory of the host as NumPy's arrays do."""
    try:
        return getattr(source, "__array_interface__", None) is not None
    except Exception:  # somebody else's property
        return False


def _unreadable(error: Exception) -> BadFrame:
    return BadFrame(
        f"the array cannot be read through DLPack: {error}", remedy="detach it from gradients and give uint8 samples"
    )


def _dtype_remedy(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "if its values are 0..1: (255 * array).round().astype('uint8')"
    if dtype.kind == "u" and dtype.itemsize == 2:  # in either order of bytes
        return "drop the low byte: (array >> 8).astype('uint8')"
    return "convert it to uint8 with values 0..255"


def _shape_remedy(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "give a frame that has pixels"
    if len(shape) == 4:
        return "give one frame at a time, or a list of frames to analyze_batch"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "channels come last: array.transpose(1, 2, 0)"
    return "give rows, columns and 3 channels (RGB), 4 (with alpha) or 1 (grey)"
