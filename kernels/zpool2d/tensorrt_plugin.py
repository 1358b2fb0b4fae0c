"""ZPool2D for TensorRT: two plugins whose kernels are compiled ahead of time and lie inside the engine.

``ZPool2DMoments`` takes the frame's statistics, ``ZPool2DScores`` makes the z-scores: a plugin of this kind is one
launch. An engine with them needs neither this package nor Python to run. TensorRT calls the interface experimental; no
GPU has built or run such an engine yet. TensorRT-RTX has no plugins and runs the operator's body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KERNELS = Path(__file__).with_name("tensorrt_kernels.cc")
"""Source of the kernels, for :func:`kernels.cuda_library.cubin`."""
NAMESPACE = "forensics"
"""Of both plugins; nodes name it in their attribute ``plugin_namespace``."""
MOMENTS, SCORES = "ZPool2DMoments", "ZPool2DScores"
MOST_WINDOWS, WIDEST = 4, 225
"""How many windows one launch takes, and their largest side, px."""
PARTS = 32
"""Parts of a plane whose moments are taken apart, three numbers each."""
PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}
"""TensorRT's names of the types that there are kernels for."""
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_WARP, _LANE, _STRIP = 32, 8, 256
_PREFIX_BYTES = (2 * (9 * _WARP + 1) * 4 + 15) // 16 * 16
_SHARED_BYTES = 48 << 10


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch; numbers that depend on the frame's size may be TensorRT's expressions."""

    kernel: str
    grid: Any
    """Blocks, in one row."""
    block: int
    """Threads of each."""
    shared: int
    """Bytes of dynamic shared memory."""
    arguments: tuple[Any, ...]
    """32-bit integers between the inputs and the output."""


def check_windows(windows: Sequence[int]) -> None:
    """Raise ValueError for windows that no kernel takes."""
    if len(windows) > MOST_WINDOWS or any(side % 2 == 0 or not 0 < side <= WIDEST for side in windows):
        raise ValueError(
            f"the plugin does not take windows of {list(windows)} px\n"
            f"  -> up to {MOST_WINDOWS}, odd and at most {WIDEST} px, or the operator's body of standard operators"
        )


def moments(shape: Sequence[Any], precision: str) -> Launch:
    """The launch that takes the moments of x, of ``shape`` [n, c, h, w]: float32 [n, c, 96]."""
    n, c, h, w = shape
    return Launch(f"zpool2d_moments_{precision}", n * c * PARTS, 256, 0, (h, w))


def scores(
    shape: Sequence[Any], precision: str, floor_precision: str, windows: Sequence[int], *, magnitude: bool
) -> Launch:
    """The launch that makes z [n, windows + 1, c, h, w] of x, of ``shape`` [n, c, h, w], its floor and its moments.

    The grid is that of a frame no smaller than the windows: an upper bound for any, without a case distinction.
    """
    check_windows(windows)
    n, c, h, w = shape
    reach = max((side // 2 for side in windows), default=0)
    halo = (reach + _LANE - 1) // _LANE * _LANE
    kept, rows = _STRIP - 2 * halo, max(8 * reach, 32)
    strips, segments = (w + (kept - 1)) // kept, (h + (rows - 1)) // rows
    row_bytes = _WARP * _LANE * BYTES[precision]
    ring = 1  # of rows; a lower frame may use one where a higher one has no room for it
    while ring < 2 * reach + 2 and _PREFIX_BYTES + 2 * ring * row_bytes <= _SHARED_BYTES:
        ring *= 2
    shared = _PREFIX_BYTES + ring * row_bytes
    padded = (*windows, *[0] * (MOST_WINDOWS - len(windows)))
    arguments = (n, c, h, w, *padded, int(magnitude))
    return Launch(f"zpool2d_scores_{precision}_{floor_precision}", n * c * strips * segments, _WARP, shared, arguments)


def register(code: bytes, *, lazily: bool = False) -> None:
    """Register both plugins with TensorRT, with ``code`` of the kernels for the GPU that engines are built for.

    ``code`` is the first thing that :func:`kernels.cuda_library.cubin` makes of :data:`KERNELS`. Once in a process.
    ``lazily`` leaves out TensorRT's own registry, which the parser looks into.
    """
    plugin: Any = import_module("tensorrt.plugin")
    types = import_module("tensorrt").DataType
    one: Any = plugin.TensorDesc
    several: Any = tuple.__class_getitem__(one)
    answer = tuple[str | bytes, str | bytes, plugin.KernelLaunchParams, plugin.SymIntExprs]
    settings = {"windows": NDArray[np.int32], "magnitude": int}
    launched = {"outputs": several, "tactic": int, "return": answer}

    def describe_moments(x: Any) -> Any:  # noqa: ANN401  TensorRT has no types here
        n, c, _, _ = x.shape_expr
        return (plugin.from_shape_expr((n, c, 3 * PARTS), types.FLOAT),)

    def describe_scores(x: Any, min_std: Any, parts: Any, windows: Any, magnitude: Any) -> Any:  # noqa: ANN401, PLR0917
        del min_std, parts, magnitude
        n, c, h, w = x.shape_expr
        return (plugin.from_shape_expr((n, len(windows) + 1, c, h, w), x.dtype),)

    def launch_moments(x: Any, outputs: Any, tactic: Any) -> Any:  # noqa: ANN401
        del outputs, tactic
        return answered(plugin, code, moments(tuple(x.shape_expr), _precision(x)))

    def launch_scores(  # noqa: PLR0917
        x: Any,  # noqa: ANN401
        min_std: Any,  # noqa: ANN401
        parts: Any,  # noqa: ANN401
        windows: Any,  # noqa: ANN401
        magnitude: Any,  # noqa: ANN401
        outputs: Any,  # noqa: ANN401
        tactic: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        del parts, outputs, tactic
        types_in = (_precision(x), _precision(min_std))
        sides = [int(side) for side in windows]
        return answered(plugin, code, scores(tuple(x.shape_expr), *types_in, sides, magnitude=bool(magnitude)))

    described = plugin.register(f"{NAMESPACE}::{MOMENTS}", lazy_register=lazily)
    described(_typed(describe_moments, {"x": one, "return": several}))
    plugin.aot_impl(f"{NAMESPACE}::{MOMENTS}")(_typed(launch_moments, {"x": one, **launched}))
    inputs = {"x": one, "min_std": one, "parts": one, **settings}
    described = plugin.register(f"{NAMESPACE}::{SCORES}", lazy_register=lazily)
    described(_typed(describe_scores, {**inputs, "return": several}))
    plugin.aot_impl(f"{NAMESPACE}::{SCORES}")(_typed(launch_scores, {**inputs, **launched}))


def _typed(function: Callable[..., Any], types: dict[str, Any]) -> Callable[..., Any]:
    """``function`` with annotations that tensorrt.plugin reads; in the source they would be strings."""
    function.__annotations__ = types
    return function


def answered(plugin: Any, code: bytes, launch: Launch) -> tuple[str, bytes, Any, Any]:  # noqa: ANN401
    """A launch in TensorRT's words."""
    parameters = plugin.KernelLaunchParams()
    parameters.grid_x, parameters.block_x, parameters.shared_mem = launch.grid, launch.block, launch.shared
    extra = plugin.SymIntExprs(len(launch.arguments))
    as_number: Callable[[Any], Any] = plugin.SymInt32
    for place, number in enumerate(launch.arguments):
        extra[place] = as_number(number)
    return launch.kernel, code, parameters, extra


def _precision(described: Any) -> str:  # noqa: ANN401
    return PRECISIONS[described.dtype.name]
