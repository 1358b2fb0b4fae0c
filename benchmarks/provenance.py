"""What a figure has to carry; defined below both sides, because training measures too."""

from __future__ import annotations

from training.provenance import provenance

__all__ = ["provenance"]
