"""Small pictures of a result: the frame without its metadata, and the heatmap in grey or in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sdk.errors import RunFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 1024
"""Long side of what is shown to people, px."""
MAP_SIDE = 512
"""Long side of a heatmap that is kept, px; a model's own map is coarser."""
QUALITY = 90
FAST = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]
"""How heatmaps, which are smooth, become PNGs in two thirds of the usual time, and no larger."""


def frame_jpeg(frame: NDArray[np.uint8], *, side: int = SIDE) -> bytes:  # [H, W, 3] RGB
    """A JPEG of ``frame``, ``side`` px long at most. It is made of pixels alone: no EXIF, so no place."""
    small = shrunk(frame, side)
    return _encoded(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def heatmap_png(heatmap: NDArray[np.float32], *, side: int = MAP_SIDE) -> bytes:  # [H, W] in [0, 1]
    """A grey PNG of ``heatmap``, ``side`` px long at most: 0 is probability 0, 255 is 1."""
    return _encoded(".png", levels(shrunk(heatmap, side)), FAST)


def colour_png(heatmap: NDArray[np.float32], *, side: int = SIDE) -> bytes:  # [H, W] in [0, 1]
    """A PNG of ``heatmap`` in colour, the more transparent the lower the probability, to be laid over the frame."""
    grey = levels(shrunk(heatmap, side))
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
    return _encoded(".png", np.dstack([colours, grey]), [cv2.IMWRITE_PNG_COMPRESSION, 6])


def picture_png(picture: NDArray[np.uint8]) -> bytes:  # [H, W, 3] RGB
    """A PNG of ``picture``."""
    return _encoded(".png", picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])


def frame_of(data: bytes) -> NDArray[np.uint8]:  # [H, W, 3] RGB
    """The pixels of what :func:`frame_jpeg` made."""
    return np.ascontiguousarray(_decoded(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def heatmap_of(data: bytes, *, height: int, width: int) -> NDArray[np.float32]:  # [height, width] in [0, 1]
    """The probabilities of what :func:`heatmap_png` made, to 1/255, over a frame of ``height`` and ``width`` px."""
    grey: NDArray[np.uint8] = cv2.resize(
        _decoded(data, cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.divide(grey, 255, dtype=np.float32)


def shrunk(array: NDArray[Any], side: int) -> NDArray[Any]:
    """``array`` [H, W, ...] averaged down so that its long side is ``side`` px at most; never enlarged."""
    height, width = array.shape[:2]
    if max(height, width) <= side:
        return array
    size = tuple(max(1, round(extent * side / max(height, width))) for extent in (width, height))
    small: NDArray[Any] = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    return small


def levels(heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities as 0..255."""
    return (255 * heatmap.clip(0, 1)).round().astype(np.uint8)


def _decoded(data: bytes, flags: int) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise RunFailed("a stored picture cannot be read", remedy="look at the record instead; examine the file anew")
    return array


def _encoded(suffix: str, array: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, array, options)
    if not done:
        raise RunFailed(f"OpenCV cannot encode {array.shape} as {suffix}", remedy="report it with the file")
    return bytes(data)
