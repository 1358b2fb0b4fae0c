"""The Containerfile: not root, nothing fetched but packages, and a command that the program knows."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from sdk import __main__ as cli
from sdk import serve

LINES = Path(serve.__file__).with_name("Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]


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
