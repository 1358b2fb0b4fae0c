"""TensorRT with our operators as plugins inside its engines, built by ``python -m export tensorrt --plugins``.

Needs the library that ``python -m kernels tensorrt ROOT`` builds, and only engines that were built with this very one.
"""

from __future__ import annotations

from sdk.engines.trt_backend import Kind

RANK = 6

_kind = Kind(plugins=True)
VERB = _kind.verb
reasons_against, precisions, built, terms, open = (
    _kind.reasons_against, _kind.precisions, _kind.built, _kind.terms, _kind.open,
)  # fmt: skip
