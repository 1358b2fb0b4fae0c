"""``python -m kernels``: build the native library and say what it offers."""

from __future__ import annotations

import sys

from kernels import build, library, ops
from kernels.errors import CannotBuild


def main() -> int:
    """Build, install, load; exit 1 with what is missing where that cannot be done."""
    try:
        file = build.install()
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    offered = library.load(file).OPS
    print(file)
    for op in ops():
        print(f"{op}: {offered.get(op, 'no native form, standard operators')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
