"""docs/back-fill.md keeps its word: its commands and its code run, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdk import __main__ as cli
from tests.sdk.integrations.conftest import running

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "back-fill.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def desk(tmp_path) -> Path:
    """A folder with the photographs that the commands name."""
    (tmp_path / "photos").mkdir()
    for name in ("gun.jpg", "signpost.jpg"):
        shutil.copy(ROOT / "sdk" / "samples" / name, tmp_path / "photos" / name)
    return tmp_path


def run(section: str, folder: Path, **more: str) -> list[str]:
    """Run the blocks of a section, without waiting for five seconds in vain; what each printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more
    said = []
    for language, code in BLOCK.findall(SECTIONS[section]):
        shell = f'set -e; imdl() {{ "{sys.executable}" -m sdk "$@"; }}; python() {{ "{sys.executable}" "$@"; }}; {code}'
        shell = shell.replace("--idle 5", "--idle 2")
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-c", shell]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        said.append(done.stdout)
    return said


def test_a_folder_and_parquet_on_one_machine(desk):
    folder, _, parquet, rows = run("A folder into Parquet, on one machine", desk)
    assert '"rows": 2, "failed": 0' in folder
    assert '"rows": 2, "failed": 0' in parquet
    assert [line.split()[0] for line in rows.splitlines()] == ["gun", "signpost"]


def test_kafka(desk):
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    with running() as cluster:
        _, consumed = run("From a Kafka topic", desk, BROKERS=cluster.brokers)
    assert consumed.count('{"examined": 2, "repeated": 0, "dead": 0}') == 2
    assert '"records": 2' in consumed


def test_triton(desk):
    run("In Triton Inference Server", desk)
    assert (desk / "models" / "psccnet-lite" / "config.pbtxt").is_file()


def test_the_command_for_ray_is_one():
    """Clusters are the business of tests/sdk/integrations/test_ray.py; this command would need one."""
    ((language, command),) = BLOCK.findall(SECTIONS["The same on Ray"])
    args = cli.parser().parse_args(command.split()[1:])
    assert (language, args.run.__name__, args.ray) == ("bash", "backfill", "auto")
