"""The Containerfile: not root, nothing fetched but packages, a command that the program knows; built where it can be.

Whether it serves as it would there, without privileges and where all but its folder is read-only, is tried without it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from sdk import __main__ as cli
from sdk import serve
from tests.sdk.serve.conftest import BRIGHT

LINES = Path(serve.__file__).with_name("Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]
SEALED = """
set -e
mount --bind "$1" "$1"
cut -d" " -f5,6 /proc/self/mountinfo | grep -v ^/proc | while read -r at options; do
    mount -o "remount,bind,$options,ro" "$at"
done
mount -o remount,bind,rw "$1"
cd "$1"
exec unshare --user --map-user="$2" --map-group="$2" "${@:3}"
"""
"""Runs a command in a folder, as a user without privileges; all but the folder is read-only, /dev/shm and /tmp too."""
NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount"]


def told(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def test_it_does_not_run_as_root():
    (user,) = told("USER")
    assert int(user) > 0
    after = [name for name, _ in STEPS][[name for name, _ in STEPS].index("USER") :]
    assert not {"RUN", "COPY"} & set(after)


def test_it_fetches_nothing_but_packages():
    assert not told("ADD")
    assert not [line for line in told("RUN") if re.search(r"curl|wget|https?://", line)]


def test_its_command_is_one_of_the_programs():
    (entry,), (command,) = told("ENTRYPOINT"), told("CMD")
    assert json.loads(entry) == ["/opt/imdl/bin/imdl"]
    args = cli.parser().parse_args(json.loads(command))
    assert (args.run.__name__, args.host) == ("serve", "0.0.0.0")
    assert str(args.port) in told("EXPOSE")


def test_its_extras_exist(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.search(r"'\.\[(.*)\]'", " ".join(told("RUN"))).groups()
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def sealed(folder: Path, *command: object) -> list[str]:
    (user,) = told("USER")
    return [*NAMESPACES, "bash", "-c", SEALED, "sealed", str(folder), user, *map(str, command)]


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode,
    reason="no user namespaces: they are off, or util-linux is missing",
)
def test_it_serves_without_privileges_where_all_but_its_folder_is_read_only(toy_path, repository, tmp_path):
    (folder := tmp_path / "data").mkdir()
    tried = sealed(folder, "sh", "-c", "id -u; grep CapEff /proc/self/status; touch here && touch ../beside")
    done = subprocess.run(tried, check=False, capture_output=True, text=True)
    assert done.stdout.split() == [*told("USER"), "CapEff:", "0" * 16]
    assert "'../beside': Read-only file system" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = sealed(folder, sys.executable, "-m", "sdk", "serve", "--anyone", "--port", port, "--model", toy_path)
    environment = os.environ | {"PYTHONPATH": str(repository)}
    with (
        (tmp_path / "log").open("w+b") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            deadline = time.monotonic() + 60
            while asked(port, "GET", "/readyz")[0] != 200:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            status, answer = asked(port, "POST", "/v1/analyze", BRIGHT)
        finally:
            server.terminate()
    assert (status, answer["state"], len(answer["record"]["results"])) == (200, "done", 1)
    assert (folder / "imdl.db").is_file()


def asked(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, dict]:
    """Status and document; 0 of a service that does not listen yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except ConnectionRefusedError:
        return 0, {}
    finally:
        connection.close()


@pytest.mark.slow
def test_it_is_built_where_a_builder_is_at_hand(repository):
    """And where its base can be fetched. It then says that an analysis can run, its root file system read-only."""
    names = [name for name in ("podman", "docker") if shutil.which(name)]
    builder = next((name for name in names if ran(name, "info").returncode == 0), None)
    if builder is None:
        pytest.skip(f"no builder of containers: {' and '.join(names) or 'podman'} cannot be used here")
    for base in {step.split()[0] for step in told("FROM")}:
        if ran(builder, "pull", base).returncode != 0:
            pytest.skip(f"no builder of containers: {base} cannot be fetched here")
    image = "localhost/imdl-test"
    built = ran(builder, "build", "-f", "sdk/serve/Containerfile", "-t", image, ".", cwd=repository)
    assert built.returncode == 0, built.stderr[-4000:]
    try:
        checked = ran(builder, "run", "--rm", "--read-only", "--tmpfs", "/tmp", image, "doctor")
        assert checked.returncode == 0, checked.stdout + checked.stderr
    finally:
        ran(builder, "rmi", image)


def ran(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)
