"""House rules that no linter knows: sizes, names, and what a committed text may say."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_CAP, MODULE_MEDIAN, FUNCTION_P90 = 400, 120, 40  # lines
WEIGHTS_CAP = 60e6  # bytes, all committed weights together
FILE_CAP = 5e6  # bytes, any other committed file
WEIGHTS = {".bin", ".onnx", ".npz", ".pt", ".pth", ".safetensors", ".data"}
PICTURES = {".jpg", ".png"}
NAMES_THAT_SAY_NOTHING = {"utils.py", "helpers.py", "common.py", "misc.py"}
# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = re.compile(
    "|".join(["/" + "work/", "/" + "farm/", "python" + "hosted", "py" + r"pi\.org", r"\bissue #?\d"]), re.I
)


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


FILES = tracked()
SOURCES = [path for path in FILES if path.suffix == ".py"]
SHIPPED = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "tests"]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def length(node: ast.stmt) -> int:
    return node.end_lineno - node.lineno + 1


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_module_is_short_and_has_a_name_that_says_something(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_CAP
    assert path.name not in NAMES_THAT_SAY_NOTHING


def test_modules_and_functions_are_short_on_the_whole():
    functions = [length(n) for path in SHIPPED for n in ast.walk(TREES[path]) if isinstance(n, ast.FunctionDef)]
    assert statistics.median(len(path.read_text(encoding="utf-8").splitlines()) for path in SHIPPED) <= MODULE_MEDIAN
    assert statistics.quantiles(functions, n=10)[-1] <= FUNCTION_P90


@pytest.mark.parametrize("path", [p for p in SOURCES if p not in SHIPPED], ids=named)
def test_every_expected_error_is_matched_by_its_words(path):
    calls = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.Call)]
    raises = [call for call in calls if ast.unparse(call.func) in {"pytest.raises", "pytest.warns", "raises"}]
    bare = [call.lineno for call in raises if "match" not in {keyword.arg for keyword in call.keywords}]
    assert not bare, f"{named(path)}: pytest.raises without match= in lines {bare}"


@pytest.mark.parametrize("path", [p for p in SHIPPED if named(p).split("/")[0] in {"sdk", "export"}], ids=named)
def test_sdk_and_export_raise_only_errors_of_the_project(path):
    builtin = {"Exception", "RuntimeError", "ValueError", "TypeError", "KeyError", "OSError", "AssertionError"}
    raised = [n.exc for n in ast.walk(TREES[path]) if isinstance(n, ast.Raise) and n.exc is not None]
    wrong = [node.lineno for node in raised if ast.unparse(node).split("(")[0] in builtin]
    assert not wrong, f"{named(path)}: a builtin error is raised in lines {wrong}; take one of sdk.errors"


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix not in WEIGHTS | PICTURES], ids=named)
def test_text_names_no_machine_and_no_process(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line[:100]}" for number, line in enumerate(lines, 1) if FORBIDDEN.search(line)]


def test_committed_files_are_small():
    weights = [path for path in FILES if path.suffix in WEIGHTS]
    assert sum(path.stat().st_size for path in weights) <= WEIGHTS_CAP
    assert not [named(path) for path in FILES if path not in weights and path.stat().st_size > FILE_CAP]
