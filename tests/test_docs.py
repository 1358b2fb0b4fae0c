"""The pages in docs keep their word: what they show is run as it stands, and their links lead somewhere."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import clip

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMANDS = {"training": "training.commands", "export": "export.commands", "kernels": "kernels.__main__"}
"""Where the command line of a package is."""
PARSED = ("training.md", "several-models.md", "gpu.md")
"""Pages whose commands take hours or a GPU: they are parsed, not run."""
LINK = re.compile(r"\]\(([^)#]+)(#[\w-]+)?\)")


@pytest.fixture
def desk(tmp_path) -> Path:
    """A folder with the photograph and the clip that the pages name, and ``imdl`` on the path."""
    shutil.copy(ROOT / "sdk" / "samples" / "gun.jpg", tmp_path / "photo.jpg")
    clip.synthesise(tmp_path / "clip.mp4", height=96, width=128, frames=3)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "imdl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sdk "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: imdl found something
    return done.stdout


def blocks(page: str, language: str) -> list[str]:
    found = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    return [code for kind, code in found if kind == language]


def test_every_page_is_listed_and_every_link_leads_somewhere():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.name == "README.md" or f"({page.name})" in index
        for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_sidecar_answers(desk):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    (script,) = blocks("sidecar.md", "bash")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run(["bash", "-e", "-c", script.replace("8000", str(port))], desk)
    answer = json.loads((desk / "answer.json").read_text())
    assert answer["state"] == "done"
    assert answer["action"] in ("pass", "review", "block")
    assert json.loads((desk / "ready.json").read_text())["status"] == "ready"


def test_an_application_reviews_what_it_cannot_ask_about(desk):
    space: dict = {}
    (code,) = blocks("sidecar.md", "python")
    exec(code, space)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert space["action_of"](b"upload", "key", port=port) == "review"


@pytest.mark.slow
def test_the_library_says_what_was_uploaded_and_leaves_a_record(desk):
    first, second = blocks("library.md", "python")
    said = run([sys.executable, "-c", first], desk).splitlines()
    assert re.fullmatch(r"\w+, score [01]\.\d{3}", said[0])
    assert said[1].startswith("not a picture that can be examined: ")
    assert run([sys.executable, "-c", second], desk).split()[0] in ("pass", "review", "block")
    (command,) = blocks("library.md", "bash")
    assert json.loads(run(["bash", "-c", command], desk))["matches"]


def test_a_stream_is_told_moment_by_moment(desk):
    pytest.importorskip("av", reason="the extra video is not installed")
    (command,) = blocks("stream.md", "bash")
    run(["bash", "-c", command], desk)
    assert len((desk / "moments.jsonl").read_text().splitlines()) >= 3
    (code,) = blocks("stream.md", "python")
    assert len(run([sys.executable, "-c", code], desk).splitlines()) == 3


class Understood(Exception):
    """A command line was parsed; what it asks for is not done."""


@pytest.mark.parametrize("line", "".join(code for page in PARSED for code in blocks(page, "text")).splitlines())
def test_command_that_takes_hours_is_understood(line, monkeypatch):
    python, option, module, *arguments = shlex.split(line)
    assert (python, option) == ("python", "-m")
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, given, namespace=None):
        raise Understood(str(parse(parser, given, namespace)))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(Understood, match="Namespace"):
        import_module(COMMANDS.get(module, module)).main(arguments)


def test_every_page_of_such_commands_has_some():
    assert all(blocks(page, "text") for page in PARSED)
