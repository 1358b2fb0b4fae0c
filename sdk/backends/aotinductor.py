"""AOTInductor packages: compiled from torch by ``python -m export aotinductor`` on this machine; need torch to run.

Torch is imported when a package is loaded and not before.
"""

from __future__ import annotations

from sdk.engines.aoti_backend import Kind

RANK = 15

_kind = Kind(plugins=False)
reasons_against, precisions, built, terms, open = (
    _kind.reasons_against, _kind.precisions, _kind.built, _kind.terms, _kind.open,
)  # fmt: skip
