"""TensorRT and TensorRT-RTX: engines for one kind of GPU, built by ``python -m export tensorrt`` or ``warmup()``."""

from __future__ import annotations

from sdk.engines.trt_backend import Kind

RANK = 5

_kind = Kind(plugins=False)
reasons_against, precisions, built, terms, open = (
    _kind.reasons_against, _kind.precisions, _kind.built, _kind.terms, _kind.open,
)  # fmt: skip
