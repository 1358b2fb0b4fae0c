"""AOTInductor packages that call operators of ours, compiled by ``python -m export aotinductor --plugins``.

Needs the library that ``make native`` builds, on a GPU that of ``python -m kernels cuda``, and only packages that were
compiled with this very one.
"""

from __future__ import annotations

from sdk.engines.aoti_backend import Kind

RANK = 16

_kind = Kind(plugins=True)
reasons_against, precisions, built, terms, open = (
    _kind.reasons_against, _kind.precisions, _kind.built, _kind.terms, _kind.open,
)  # fmt: skip
