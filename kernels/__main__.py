"""``python -m kernels``: build the native library and say what it offers.

``python -m kernels cuda`` builds that of the CUDA kernels, ``python -m kernels tensorrt ROOT`` the plugins for the
TensorRT whose headers are in ``ROOT`` or ``ROOT/include``. Each prints where it put what it built, which is where the
SDK looks for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kernels import build, cuda_library, library, ops
from kernels.errors import CannotBuild


def main(arguments: list[str] | None = None) -> int:
    """Build, install, load; exit 1 with what is missing where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m kernels", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", metavar="cuda | tensorrt ROOT")
    kinds.add_parser("cuda")
    kinds.add_parser("tensorrt").add_argument("root", type=Path)
    args = parser.parse_args(arguments)
    try:
        if args.kind == "tensorrt":
            file = build.install_plugins(args.root)
        else:
            file = cuda_library.install() if args.kind == "cuda" else build.install()
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    print(file)
    if args.kind:
        return 0
    offered = library.load(file).OPS
    for op in ops():
        print(f"{op}: {offered.get(op, 'no native form, standard operators')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
