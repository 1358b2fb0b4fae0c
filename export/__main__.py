"""``python -m export onnx MODEL``: from a checkpoint to an artifact."""

from __future__ import annotations

import sys

from sdk.errors import MissingExtra

if __name__ == "__main__":
    try:
        from export.commands import main
    except ModuleNotFoundError as error:
        print(MissingExtra(str(error.name), extra="export", purpose="python -m export"), file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
