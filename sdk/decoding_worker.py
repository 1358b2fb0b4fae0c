"""The worker process: reads requests, decodes, answers. It never sees NumPy or a runtime, so it starts fast.

One JSON object per line each way. The file and then its pixels go through ``shared``, an anonymous file that both
processes hold: before the first request the worker gives up every other (:mod:`sdk.confinement`). Everything that a
codec prints goes to the worker's standard error, which the parent collects.
"""

from __future__ import annotations

import json
import math
import os
import signal
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from PIL import AvifImagePlugin, Image

from sdk import confinement, pillow
from sdk.errors import SdkError
from sdk.limits import Limits

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]


def serve(start: Mapping[str, Any]) -> None:
    """Answer requests until the parent closes its end; ``start`` has ``shared`` (descriptor) and ``limits``."""
    limits = Limits(**start["limits"])
    room = max(limits.bytes, 3 * limits.pixels)
    answer_all(start, limits, pillow.prepare_all, lambda request: _answer(request, start["shared"], limits), room=room)


def answer_all(
    start: Mapping[str, Any],
    limits: Limits,
    prepare: Callable[[], object],
    answer: Callable[[Any], Mapping[str, Any]],
    *,
    room: int,
) -> None:
    """Say that this process is ready, then answer one request after the other; no file grows beyond ``room`` bytes.

    With ``free`` in ``start`` it keeps network and files, which a live source needs.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _restrict(limits, room + 2**20)
    prepare()
    within_reach = confinement.NOTHING if start["free"] else confinement.enter()
    _reply(replies, {"ready": True, "within_reach": within_reach})
    for line in requests:
        # A worker whose parent was killed must not decode for ever.
        signal.alarm(math.ceil(limits.seconds) + 2)
        _reply(replies, answer(json.loads(line)))
        signal.alarm(0)


def _restrict(limits: Limits, room: int) -> None:
    Image.MAX_IMAGE_PIXELS = limits.pixels
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if resource is None:
        return
    for kind, amount in ((resource.RLIMIT_AS, limits.memory), (resource.RLIMIT_FSIZE, room), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _reply(replies: int, answer: Mapping[str, Any]) -> None:
    os.write(replies, json.dumps(answer).encode() + b"\n")


def _answer(request: Mapping[str, Any], shared: int, limits: Limits) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = _decode(request, shared, limits)
    except SdkError as error:
        return refused(error)
    _share(picture.image, shared)
    said = dict.fromkeys(f"the decoder warned: {pillow.readable(warning.message)}" for warning in caught)
    return {
        "width": picture.image.width,
        "height": picture.image.height,
        "orientation": picture.orientation,
        "format": picture.format,
        "decoder": picture.decoder,
        "notes": [*picture.notes, *list(said)[:5]],
        "quality": picture.quality,
    }


def refused(error: SdkError) -> dict[str, Any]:
    """The answer that makes the parent raise ``error``."""
    return {"error": type(error).__name__, "problem": error.problem, "remedy": error.remedy}


def _decode(request: Mapping[str, Any], shared: int, limits: Limits) -> pillow.Picture:
    with open(shared, "rb", closefd=False) as file:
        file.seek(0)
        return pillow.read(file, name=request["name"], limits=limits, most_pixels=request["most_pixels"])


def _share(image: Image.Image, shared: int) -> None:
    """Write the pixels, [H, W, 3] bytes in row-major order, to the start of ``shared``."""
    os.lseek(shared, 0, os.SEEK_SET)
    for box in pillow.strips(image.size):
        rows = memoryview(image.crop(box).tobytes())
        while rows:
            rows = rows[os.write(shared, rows) :]
