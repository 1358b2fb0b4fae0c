"""``python -m kernels``: build the native library and say what it offers.

``python -m kernels cuda`` builds that of the CUDA kernels, ``python -m kernels tensorrt ROOT`` the plugins for the
TensorRT whose headers are in ``ROOT`` or ``ROOT/include``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kernels import build, cuda_library, library, ops
from kernels.errors import CannotBuild


def main() -> int:
    """Build, install, load; exit 1 with what is missing where that cannot be done."""
    kind, *others = [*sys.argv[1:], ""]
    try:
        if kind == "tensorrt":
            file = build.tensorrt(Path(others[0]))
        else:
            file = cuda_library.install() if kind == "cuda" else build.install()
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    print(file)
    if kind:
        return 0
    offered = library.load(file).OPS
    for op in ops():
        print(f"{op}: {offered.get(op, 'no native form, standard operators')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
