"""What needs an extra that is not there says which, and is importable all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sdk import __main__ as cli


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("confluent_kafka", "kafka", "consume --brokers none:1 --topic in --to out --model {toy} --policy {policy}"),
        ("pyarrow", "parquet", "backfill {photos} {out} --model {toy}"),
        ("ray", "ray", "backfill {photos} {out} --model {toy} --ray auto"),
    ],
)
def test_the_extra_is_named(package, extra, command, toy_path, policy_path, tmp_path, upload, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(upload)
    monkeypatch.setitem(sys.modules, package, None)
    places = {"toy": toy_path, "policy": policy_path, "photos": tmp_path / "photos", "out": tmp_path / "out"}
    assert cli.main(command.format(**places).split()) == 2
    assert f"pip install 'imdl-sdk[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_modules_are_importable_without_any(repository):
    program = """
import sys
from importlib import import_module
from pkgutil import iter_modules

import sdk.integrations

sys.modules.update(dict.fromkeys(["confluent_kafka", "pyarrow", "ray"]))
names = [module.name for module in iter_modules(sdk.integrations.__path__)]
print(all(import_module(f"sdk.integrations.{name}") for name in names), {"kafka", "backfill", "ray"} <= set(names))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
