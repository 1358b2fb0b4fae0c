"""README keeps its word: its code runs, its links lead somewhere, its figures are the measured ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import clip, table

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
FOUND_OR_CLEAN = (0, 1)


@pytest.fixture
def desk(tmp_path) -> Path:
    """A folder with the photographs and the clip that the examples name."""
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/first.jpg", "photos/second.jpg"):
        shutil.copy(ROOT / "sdk" / "samples" / "gun.jpg", tmp_path / name)
    clip.synthesise(tmp_path / "clip.mp4", height=96, width=128, frames=4)
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_examples_are_given():
    assert len(PYTHON) >= 3
    assert 'save_overlay("photo-overlay.png")' in PYTHON[0]
    assert any(line.startswith("imdl analyze") for line in SHELL)


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[-1])
def test_python_example_runs_and_prints(code, desk):
    done = run([sys.executable, "-c", code], desk)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for overlay in re.findall(r'save_overlay\("(.+?)"\)', code):
        assert (desk / overlay).stat().st_size > 0


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("imdl ")])
def test_command_runs(line, desk):
    done = run(["bash", "-c", f'imdl() {{ "{sys.executable}" -m sdk "$@"; }}; {line}'], desk)
    assert done.returncode in FOUND_OR_CLEAN, done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("line", [line for line in SHELL if "make " in line])
def test_make_verb_exists(line):
    verb = line.split("make ")[1]
    done = run(["make", "--dry-run", verb], ROOT)
    assert done.returncode == 0, done.stderr


def test_every_shell_line_is_tried_here():
    assert all(line.startswith("imdl ") or "make " in line for line in SHELL)


def test_links_and_pictures_exist():
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in target]
    missing = [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing, f"README names {missing}; the picture is one of the overlays that make demo writes"
    for target in targets:
        page, _, place = target.partition("#")
        assert not place or place in headings(ROOT / page), f"{page} has no heading {place}"


def headings(page: Path) -> set[str]:
    """What a link to a heading of the page ends with."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_tables_are_those_of_the_committed_results():
    texts = {page: page.read_text(encoding="utf-8") for page in table.PAGES}
    assert {page: table.filled(text) for page, text in texts.items()} == texts, "run: python -m benchmarks.table"
