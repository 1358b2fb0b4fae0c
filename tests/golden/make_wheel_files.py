"""Write ``tests/wheel_files.txt``, the files that a wheel of what is staged holds.

python tests/golden/make_wheel_files.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Build a wheel from what would be committed and list it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = partial(subprocess.run, cwd=ROOT, check=True, capture_output=True)
        tree = run(["git", "archive", run(["git", "write-tree"]).stdout.strip()]).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=tree, check=True)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--wheel-dir", folder / "dist", folder], check=True)
        with zipfile.ZipFile(next((folder / "dist").glob("*.whl"))) as archive:
            files = sorted(entry for entry in archive.namelist() if ".dist-info/" not in entry)
    (ROOT / "tests" / "wheel_files.txt").write_text("\n".join(files) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
