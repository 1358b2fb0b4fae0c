"""ZPool2D for TensorRT: two plugins whose kernels are compiled ahead of time and lie inside the engine.

``ZPool2DMoments`` takes the frame's statistics, ``ZPool2DScores`` makes the z-scores: a plugin of this kind is one
launch. An engine with them needs neither this package nor Python to run. TensorRT calls the interface experimental; no
GPU has built or run such an engine yet. TensorRT-RTX has no plugins and runs the operator's body.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernels import tensorrt_launch
from kernels.tensorrt_launch import BYTES, SHARED_BYTES, Array, Launch, Plugin

KERNELS = Path(__file__).with_name("tensorrt_kernels.cc")
"""Source of the kernels, for :func:`kernels.cuda_library.cubin`."""
MOMENTS, SCORES = "ZPool2DMoments", "ZPool2DScores"
MOST_WINDOWS, WIDEST = 4, 225
"""How many windows one launch takes, and their largest side, px."""
PARTS = 32
"""Parts of a plane whose moments are taken apart, three numbers each."""
_WARP, _LANE, _STRIP = 32, 8, 256
_PREFIX_BYTES = (2 * (9 * _WARP + 1) * 4 + 15) // 16 * 16


def check_windows(windows: Sequence[int]) -> None:
    """Raise ValueError for windows that no kernel takes."""
    if len(windows) > MOST_WINDOWS or any(side % 2 == 0 or not 0 < side <= WIDEST for side in windows):
        raise ValueError(
            f"the plugin does not take windows of {list(windows)} px\n"
            f"  -> up to {MOST_WINDOWS}, odd and at most {WIDEST} px, or the operator's body of standard operators"
        )


def moments(x: Array) -> Launch:
    """The launch that takes the moments of x [n, c, h, w]: float32 [n, c, 96]."""
    n, c, h, w = x.shape
    return Launch(
        kernel=f"zpool2d_moments_{x.precision}",
        grid=(n * c * PARTS,),
        block=256,
        arguments=(h, w),
        outputs=(Array((n, c, 3 * PARTS), "fp32"),),
    )


def scores(x: Array, min_std: Array, parts: Array, *, windows: Sequence[int], magnitude: bool) -> Launch:
    """The launch that makes z [n, windows + 1, c, h, w] of x [n, c, h, w], its floor [c] and its moments.

    The grid is that of a frame no smaller than the windows: an upper bound for any, without a case distinction.
    """
    del parts
    check_windows(windows)
    n, c, h, w = x.shape
    reach = max((int(side) // 2 for side in windows), default=0)
    halo = (reach + _LANE - 1) // _LANE * _LANE
    kept, rows = _STRIP - 2 * halo, max(8 * reach, 32)
    strips, segments = (w + (kept - 1)) // kept, (h + (rows - 1)) // rows
    row_bytes = _WARP * _LANE * BYTES[x.precision]
    ring = 1  # of rows; a lower frame may use one where a higher one has no room for it
    while ring < 2 * reach + 2 and _PREFIX_BYTES + 2 * ring * row_bytes <= SHARED_BYTES:
        ring *= 2
    padded = (*map(int, windows), *[0] * (MOST_WINDOWS - len(windows)))
    return Launch(
        kernel=f"zpool2d_scores_{x.precision}_{min_std.precision}",
        grid=(n * c * strips * segments,),
        block=_WARP,
        shared=_PREFIX_BYTES + ring * row_bytes,
        arguments=(n, c, h, w, *padded, int(magnitude)),
        outputs=(Array((n, len(windows) + 1, c, h, w), x.precision),),
    )


PLUGINS = (
    Plugin(name=MOMENTS, inputs=("x",), launch=moments),
    Plugin(
        name=SCORES,
        inputs=("x", "min_std", "parts"),
        settings={"windows": NDArray[np.int32], "magnitude": int},
        launch=scores,
    ),
)


def register(code: bytes, *, lazily: bool = False) -> None:
    """Register both, as :func:`kernels.tensorrt_launch.register` does.

    ``code`` is the first thing that :func:`kernels.cuda_library.cubin` makes of :data:`KERNELS`.
    """
    tensorrt_launch.register(PLUGINS, code, lazily=lazily)
