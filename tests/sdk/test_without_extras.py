"""Without the extras of the service the rest works, and what does not says which extra it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "prometheus_client",
                                  "multipart", "python_multipart", "pydantic", "psycopg", "cryptography"}:
            raise ImportError(f"no {name} here", name=name)

sys.meta_path.insert(0, Refuse())
from sdk.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run(repository, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_the_service_is_tested():
    """Where it is installed: its tests in ``tests/sdk/serve`` are left out where it is not."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    assert (Path(__file__).parent / "serve" / "test_app.py").is_file()


def test_the_service_names_its_extra(repository):
    for verb in (("serve", "--anyone"), ("keys", "list")):
        done = run(repository, *verb)
        assert done.returncode == 2
        assert "pip install 'imdl-sdk[serve]'" in done.stderr


def test_signing_names_its_extra_and_the_rest_needs_none(repository, toy_path, tmp_path, rng):
    from tests.sdk.files import saved, scene

    (tmp_path / "a.png").write_bytes(saved(scene(rng, 70, 90), "PNG"))
    options = (str(tmp_path / "a.png"), "--model", str(toy_path))
    done = run(repository, "record", *options, "--sign", "key.pem")
    assert (done.returncode, "pip install 'imdl-sdk[evidence]'" in done.stderr) == (2, True)
    done = run(repository, "record", *options)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")
    (tmp_path / "a.json").write_text(done.stdout)
    replayed = run(repository, "replay", str(tmp_path / "a.json"), options[0], "--model", f"toy={toy_path}")
    assert replayed.returncode == 0, replayed.stderr
