"""``python -m export triton``."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.engines.commands import find, sides
from export.targets import triton


def to_triton(args: argparse.Namespace) -> int:
    """Write a model repository for Triton Inference Server: ONNX for any, TensorRT plans where engines are kept."""
    serving = triton.Serving(batch=args.batch, delay_us=args.delay_us, warmup=args.warmup)
    for folder in triton.export(find(args.artifact), args.repo, working_size=args.working_size, serving=serving):
        print(folder)
    return 0


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    verb = verbs.add_parser("triton", help=to_triton.__doc__, description=to_triton.__doc__)
    verb.add_argument("artifact", nargs="?", default="psccnet-lite", help="name or path (default: psccnet-lite)")
    verb.add_argument(
        "--repo", type=Path, required=True, metavar="DIR", help="the model repository; others may be in it"
    )
    verb.add_argument(
        "--working-size", type=int, metavar="PX", help="built in; 0: the frame's own (default: the model's)"
    )
    verb.add_argument("--batch", type=int, default=8, help="frames that are run together at most (default: 8)")
    verb.add_argument("--delay-us", type=int, default=5000, metavar="US", help="wait for others (default: 5000)")
    verb.add_argument(
        "--warmup", type=sides, default=(512, 512), metavar="HxW", help="frames run first (default: 512x512)"
    )
    verb.set_defaults(run=to_triton)
