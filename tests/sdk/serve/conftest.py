"""A service with the toy model in this process, databases of both kinds, and keys."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.sdk.files import saved, scene

if importlib.util.find_spec("fastapi") is None:  # tests/sdk/test_without_extras.py says so with a skip
    collect_ignore_glob = ["test_*.py"]
else:
    from fastapi.testclient import TestClient

    from sdk.serve import app
    from sdk.serve.access import Keys
    from sdk.serve.database import Database
    from sdk.serve.settings import Settings

POLICY = """
schema = 1
name = "toy"
version = 1
[thresholds.default]
review = { false_alarms = 0.05 }
block = { score = 0.9 }
[thresholds.claim]
review = { score = 0.0 }
"""
NO_POSTGRES = "no PostgreSQL server: apt-get install postgresql"


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them off the path."""
    found = [Path(at).parent for at in [shutil.which("initdb")] if at]
    return next(iter([*found, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server of our own, on a socket in a temporary folder, run by a user who is not root."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = postgres_folder()
    if programs is None:
        pytest.skip(NO_POSTGRES)
    with tempfile.TemporaryDirectory(prefix="imdl-pg-", dir="/tmp") as folder:  # a socket's path has to be short
        user: dict[str, object] = {"cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            user |= {"user": "nobody", "extra_groups": []}

        def run(program: str, *options: str) -> None:
            command = [programs / program, "-D", f"{folder}/data", *options]
            done = subprocess.run(command, check=False, capture_output=True, **user)
            assert done.returncode == 0, done.stderr

        run("initdb", "-U", "imdl", "--auth=trust", "--no-sync", "--no-instructions")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://imdl@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path) -> Iterator[Database]:
    """An empty database of either kind, with its tables."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'imdl.db'}")
    else:
        made = Database(fresh(request.getfixturevalue("postgres")))
    made.migrate()
    yield made
    made.close()


def fresh(url: str) -> str:
    """The database at ``url`` with nothing in it."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.fixture(scope="session")
def make_settings(toy_path, tmp_path_factory) -> Callable[..., Settings]:
    """Settings with the toy and a policy of its own, in a folder of their own."""

    def make(**changes: object) -> Settings:
        folder = tmp_path_factory.mktemp("service")
        (folder / "policy.toml").write_text(POLICY)
        chosen = {"database": f"sqlite:///{folder}/imdl.db", "secret": f"{folder}/secret", "models": (str(toy_path),),
                  "policy": str(folder / "policy.toml"), "threads": 1, "backend": "onnxruntime"}  # fmt: skip
        return Settings(**chosen | changes)

    return make


@contextmanager
def served(settings: Settings) -> Iterator[TestClient]:
    """A client of a service that is ready."""
    with TestClient(app.create(settings)) as client:
        deadline = time.monotonic() + 180
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            assert not client.app.state.service.failure
            time.sleep(0.02)
        yield client


@pytest.fixture(scope="module")
def service(make_settings) -> Iterator[TestClient]:
    """A service that wants keys; ``client.keys`` are two that hand in and one that reviews."""
    with served(make_settings(shadow="default", per_minute=100_000)) as client:
        keys = Keys(client.app.state.service.database)
        client.keys = {
            name: {"Authorization": f"Bearer {keys.add(name, role='review' if name == 'carol' else 'submit')}"}
            for name in ("alice", "bob", "carol")
        }
        yield client


def picture(seed: int, *, low: int = 0, high: int = 160, size: tuple[int, int] = (140, 180)) -> bytes:
    """A PNG of a scene; the toy's score is its brightness."""
    return saved(scene(np.random.default_rng(seed), *size, low=low, high=high), "PNG")


DIM, BRIGHT, WHITE = picture(1), picture(2, low=100, high=250), picture(3, low=215, high=256)


def finished(client: TestClient, job: str, headers: dict[str, str]) -> dict:
    """The document on a job once it is done or failed."""
    deadline = time.monotonic() + 180
    while (document := client.get(f"/v1/jobs/{job}", headers=headers).json())["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return document
