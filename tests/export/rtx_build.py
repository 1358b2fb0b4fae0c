"""Builds engines in a process of its own, which the package may end: ``rtx_build.py FILE...``; a line for each."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from sdk.engines import trt
from sdk.engines.profile import Profile
from sdk.errors import SdkError


def stages(shapes: object, tensor: object, profile: Profile) -> None:
    """Extents of what goes into any graph of an artifact: frames, pixels, maps, moments, and numbers."""
    if not tensor.shape and not tensor.is_shape_tensor:
        return  # a number that decides no shape
    if not tensor.shape:
        trt.frames(shapes, tensor, profile)
        return
    stride = 2 if tensor.name == "l1" else 1
    extents = []
    for sides in (profile.smallest, profile.usual, profile.largest):
        varying = iter((1, *(side // stride for side in sides)))
        fixed = [next(varying) if extent == -1 else extent for extent in tensor.shape]
        extents.append(fixed)
    shapes.set_shape(tensor.name, *extents)


def main() -> None:
    library = trt.load(None)
    for name in sys.argv[1:]:
        start = time.monotonic()
        try:
            plan, _ = trt.build(library, Path(name), Profile(), declare=stages)
            said = {"bytes": len(plan)}
        except SdkError as error:
            said = {"problem": error.problem}
        print(json.dumps({"file": Path(name).name, "seconds": time.monotonic() - start, **said}), flush=True)


if __name__ == "__main__":
    main()
