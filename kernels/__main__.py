"""``python -m kernels``: build the native library and say what it offers; ``python -m kernels cuda``: the CUDA one."""

from __future__ import annotations

import sys

from kernels import build, cuda_library, library, ops
from kernels.errors import CannotBuild


def main() -> int:
    """Build, install, load; exit 1 with what is missing where that cannot be done."""
    cuda = sys.argv[1:] == ["cuda"]
    try:
        file = cuda_library.install() if cuda else build.install()
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    print(file)
    if cuda:
        return 0
    offered = library.load(file).OPS
    for op in ops():
        print(f"{op}: {offered.get(op, 'no native form, standard operators')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
