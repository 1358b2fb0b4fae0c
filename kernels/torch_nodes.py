"""Whether a program that torch exports calls our operators, or holds the standard operators that they are made of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_within: ContextVar[bool] = ContextVar("within", default=False)


@contextmanager
def called() -> Generator[None]:
    """Programs that ``torch.export`` makes within call our operators, where the library for their device has them.

    Elsewhere none does: what torch compiles needs nothing of ours to run. The tracing has to be that of Python
    (``strict=False``).
    """
    token = _within.set(True)
    try:
        yield
    finally:
        _within.reset(token)


def are_called() -> bool:
    """Whether a program is exported here and now that is to call our operators."""
    return torch.compiler.is_exporting() and _within.get()
