"""What a device could do: the work of a model, counted on its graph, over the rates that the device is seen to reach.

    python -m benchmarks.roofline [--device cpu] [--precision f32] [--threads 2]

prints the rates of a matrix product and of a copy. The bound is that of an engine that runs layer by layer: every
convolution, product, pooling and resize reads its inputs and writes its output once and takes the longer of its
arithmetic and its traffic; normalisation, activation and bias are fused into it, an addition reads one operand more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices: large enough that their arithmetic is all that counts."""
COPIED = {"cpu": 1 << 28, "cuda": 1 << 30}
"""Bytes of the copy, well beyond any cache."""
TIMES = 7
MOVERS = ("pool", "upsample", "grid_sampler", "index")
"""Parts of the names of operators that move what they read and do little with it."""


class Layer(NamedTuple):
    """One layer's work."""

    flops: int
    """Two for each multiply-accumulate."""
    elements: int
    """Numbers read and written, weights included."""


class Rates(NamedTuple):
    """What a device was seen to do in one precision."""

    flops_per_s: float
    bytes_per_s: float


class _Tally(TorchDispatchMode):
    """Write down the layers that are run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  torch's own signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        found = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        moved = sum(value.numel() for value in (*args, found) if isinstance(value, torch.Tensor))
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=found)
            self.layers.append(Layer(int(flops), moved))
        elif any(word in str(packet) for word in MOVERS):
            self.layers.append(Layer(0, moved))
        elif packet is torch.ops.aten.add and isinstance(args[1], torch.Tensor) and args[0].shape == args[1].shape:
            self.layers.append(Layer(0, args[1].numel()))
        return found


def work(model: Callable[..., object], *, height: int, width: int, working_size: int = 0) -> list[Layer]:
    """The layers of ``model`` on one frame of that size; nothing is computed."""
    with _Tally() as tally, torch.no_grad():
        model(torch.empty(1, height, width, 3, dtype=torch.uint8, device="meta"), working_size)
    return tally.layers


def bound_s(layers: Iterable[Layer], rates: Rates, *, precision: str) -> float:
    """Seconds that ``layers`` take at least, one after the other."""
    size = TYPES[precision].itemsize
    return sum(max(flops / rates.flops_per_s, size * moved / rates.bytes_per_s) for flops, moved in layers)


def measured(device: str, *, precision: str) -> Rates:
    """Rates of a matrix product and of a copy, the median of a few."""
    side, dtype = SIDE[device], TYPES[precision]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product_s = _median_s(lambda: left @ right, device)
    source = torch.ones(COPIED[device] // 4, device=device)
    target = torch.empty_like(source)
    copy_s = _median_s(lambda: target.copy_(source), device)
    return Rates(2 * side**3 / product_s, 2 * COPIED[device] / copy_s)


def _median_s(call: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(TIMES + 2):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])  # the first ones wake threads and touch pages


def main(arguments: list[str] | None = None) -> None:
    """Print the rates as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--device", choices=sorted(SIDE), default="cpu")
    parser.add_argument("--precision", choices=sorted(TYPES), default="f32")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(json.dumps(measured(options.device, precision=options.precision)._asdict()))


if __name__ == "__main__":
    main()
