"""SCCM attention for TensorRT: five plugins whose kernels are compiled ahead of time and lie inside the engine.

A plugin of this kind is one launch. ``SCCMAttentionRanges`` lets the queries meet each range of the keys,
``SCCMAttentionSpatial`` brings the ranges together. ``SCCMAttentionLogits`` takes the positions a part at a time,
``SCCMAttentionWeights`` brings the parts together and takes their softmax, ``SCCMAttentionChannel`` makes the product.
What they hand on are tensors of the engine, which needs neither this package nor Python to run.

Products of float16 and bfloat16 run on tensor cores from compute capability 8.0 on, those of the ranges with up to 144
channels: with 288, PSCC-Net's other number, a block would ask for 86 KiB of shared memory, and TensorRT's launches have
no word for more than every block gets. Other products are float32 fused multiply-adds. Rows that are not of whole 16
bytes are seen when a kernel runs, since a build may not know the number of positions.

TensorRT calls the interface experimental; no GPU has built or run such an engine yet. TensorRT-RTX has no plugins and
runs the operator's body.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from kernels import tensorrt_launch
from kernels.tensorrt_launch import Array, Launch, Plugin

KERNELS = Path(__file__).with_name("tensorrt_kernels.cc")
"""Source of the kernels, for :func:`kernels.cuda_library.cubin`."""
RANGES, SPATIAL = "SCCMAttentionRanges", "SCCMAttentionSpatial"
LOGITS, WEIGHTS, CHANNEL = "SCCMAttentionLogits", "SCCMAttentionWeights", "SCCMAttentionChannel"
TENSOR_CORES = 80
"""Compute capability from which on there are tensor cores as we want them, ten times the major plus the minor."""
MOST_CHANNELS = 144
"""Of queries, keys and values that tensor cores take."""
_WARP, _TILE, _POSITIONS = 32, 64, 512
_THREADS, _TENSOR_THREADS, _MERGE_THREADS = 256, 128, 256
_VALUES = 5 * _TILE  # channels that a block sums in float32
_CHANNEL_BYTES = 2 * ((64 + 8) + 2 * (32 + 8))  # queries, keys and values, with padding
_FEWEST_TILES, _BLOCKS = 2, 256


def ranges(theta: Array, phi: Array, g: Array, *, tensor_cores: bool) -> Launch:
    """The launch in which the queries of theta [b, d, n] meet each range of the keys of phi, with values of g.

    It writes sums of weighted values [ranges, b, n, d], largest logits [ranges, b, n] and sums of weights [ranges, b,
    n]. A build knows no number of multiprocessors, so sizes alone say how many ranges there are: about as many as make
    256 blocks, two for each multiprocessor of a large GPU, of 128 keys or more but for the last, and one where the
    queries by themselves are enough blocks. So memory grows with n, not with its square.
    """
    _check_types(theta, phi, g)
    b, d, n = theta.shape
    tiles = _divided(n, _TILE)
    tiles_of_range = b * tiles * tiles // _BLOCKS + _FEWEST_TILES
    count = (tiles + (tiles_of_range - 1)) // tiles_of_range
    channels = _known(d)
    on_tensor_cores = tensor_cores and theta.precision != "fp32" and channels is not None and channels <= MOST_CHANNELS
    return Launch(
        kernel=_kernel("ranges", theta.precision, on_tensor_cores=on_tensor_cores),
        grid=(tiles, count, b if on_tensor_cores else b * _divided(d, _VALUES)),
        block=_TENSOR_THREADS if on_tensor_cores else _THREADS,
        shared=_divided(d, 16) * (16 * _CHANNEL_BYTES) if on_tensor_cores else 0,
        arguments=(b, d, n, tiles_of_range),
        outputs=(Array((count, b, n, d), "fp32"), Array((count, b, n), "fp32"), Array((count, b, n), "fp32")),
    )


def spatial(sums: Array, tops: Array, totals: Array, g: Array) -> Launch:
    """The launch that brings ranges together: the spatial product [b, n, d] in the type of g."""
    del tops, totals
    count, b, n, d = sums.shape
    return Launch(
        kernel=_kernel("spatial", g.precision),
        grid=(_divided(b * n * d, _MERGE_THREADS),),
        block=_MERGE_THREADS,
        arguments=(b, d, n, count),
        outputs=(Array((b, n, d), g.precision),),
    )


def logits(theta: Array, phi: Array, *, tensor_cores: bool) -> Launch:
    """The launch that makes logits of channels, of each part of the positions: float32 [parts, b, d, d]."""
    _check_types(theta, phi)
    b, d, n = theta.shape
    parts, tiles = _divided(n, _POSITIONS), _divided(d, _TILE)
    on_tensor_cores = tensor_cores and theta.precision != "fp32"
    return Launch(
        kernel=_kernel("logits", theta.precision, on_tensor_cores=on_tensor_cores),
        grid=(tiles * tiles, parts, b),
        block=_TENSOR_THREADS if on_tensor_cores else _THREADS,
        arguments=(b, d, n),
        outputs=(Array((parts, b, d, d), "fp32"),),
    )


def weights(logits: Array, g: Array, *, tensor_cores: bool) -> Launch:
    """The launch that takes the softmax: [b, d, d] with rows padded to whole 16 bytes, as the product wants them.

    In the type of g for tensor cores, in float32 otherwise.
    """
    parts, b, d, _ = logits.shape
    precision = g.precision if tensor_cores else "fp32"
    return Launch(
        kernel=_kernel("weights", precision),
        grid=(b * d,),
        block=_WARP,
        shared=d * 4,
        arguments=(b, d, parts),
        outputs=(Array((b, d, _divided(d, 8) * 8), precision),),
    )


def channel(g: Array, weights: Array) -> Launch:
    """The launch that makes the channel product [b, n, d] of the values of g [b, d, n] and their weights."""
    b, d, n = g.shape
    on_tensor_cores = weights.precision != "fp32"
    return Launch(
        kernel=_kernel("channel", g.precision, on_tensor_cores=on_tensor_cores),
        grid=(_divided(n, _TILE), _divided(d, _TILE), b),
        block=_TENSOR_THREADS if on_tensor_cores else _THREADS,
        arguments=(b, d, n),
        outputs=(Array((b, n, d), g.precision),),
    )


def plugins(*, tensor_cores: bool) -> tuple[Plugin, ...]:
    """All five, for kernels on tensor cores or for others."""
    return (
        Plugin(name=RANGES, inputs=("theta", "phi", "g"), outputs=3, launch=partial(ranges, tensor_cores=tensor_cores)),
        Plugin(name=SPATIAL, inputs=("sums", "tops", "totals", "g"), launch=spatial),
        Plugin(name=LOGITS, inputs=("theta", "phi"), launch=partial(logits, tensor_cores=tensor_cores)),
        Plugin(name=WEIGHTS, inputs=("logits", "g"), launch=partial(weights, tensor_cores=tensor_cores)),
        Plugin(name=CHANNEL, inputs=("g", "weights"), launch=channel),
    )


def register(code: bytes, architecture: int, *, lazily: bool = False) -> None:
    """Register all, as :func:`kernels.tensorrt_launch.register` does.

    ``code`` is the first thing that :func:`kernels.cuda_library.cubin` makes of :data:`KERNELS` for ``architecture``.
    """
    tensorrt_launch.register(plugins(tensor_cores=architecture >= TENSOR_CORES), code, lazily=lazily)


def _kernel(name: str, precision: str, *, on_tensor_cores: bool = False) -> str:
    return f"sccm_attention_{name}{'_on_tensor_cores' if on_tensor_cores else ''}_{precision}"


def _divided(size: Any, by: int) -> Any:  # noqa: ANN401  sizes may be TensorRT's expressions
    """Rounded up."""
    return (size + (by - 1)) // by


def _known(size: Any) -> int | None:  # noqa: ANN401
    """A size that is the same for all frames; None if it is not, or if TensorRT asks for types alone."""
    if isinstance(size, int):
        return size
    return int(size.constant_value()) if not size.is_fake and size.is_constant else None


def _check_types(*arrays: Array) -> None:
    found = [each.precision for each in arrays]
    if len(set(found)) > 1:
        raise ValueError(
            f"the plugin does not take arrays of {', '.join(found)} together\n"
            "  -> cast them to one type, or use the operator's body of standard operators"
        )
