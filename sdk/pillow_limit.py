"""Pillow's own limit on pixels, which holds for the whole process, out of the way of ours."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from PIL import Image

_lock = threading.Lock()
_raised: list[int] = []
"""Limits of the reads that are under way."""
_usual: int | None = Image.MAX_IMAGE_PIXELS


@contextlib.contextmanager
def raised_to(pixels: int) -> Iterator[None]:
    """Let Pillow read pictures of ``pixels`` without a warning or an error while the context is entered.

    Pillow checks sizes against one number of the whole process, when it opens a file and here and there when it
    loads one. That number is raised for the time of a read, never lowered, and put back after the last.
    """
    global _usual  # noqa: PLW0603  the number is Pillow's, and global
    with _lock:
        if not _raised:
            _usual = Image.MAX_IMAGE_PIXELS
        _raised.append(pixels)
        _set()
    try:
        yield
    finally:
        with _lock:
            _raised.remove(pixels)
            _set()


def _set() -> None:
    Image.MAX_IMAGE_PIXELS = None if _usual is None else max([_usual, *_raised])


def _after_fork() -> None:
    """The reads of other threads are not in the child."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _raised:
        _raised.clear()
        _set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
