"""``python -m training synthesize | fit | evaluate | measure``: the command line of the training side."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from training.commands import main
    except ModuleNotFoundError as error:
        print(f"python -m training needs {error.name}\n  -> pip install 'imdl-sdk[train]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
