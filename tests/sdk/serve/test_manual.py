"""The manual keeps its word: its settings are settings, its code checks a webhook, its routes exist."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path

from sdk import serve
from sdk.serve import webhooks
from sdk.serve.settings import read

TEXT = Path(serve.__file__).with_name("README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))


def test_the_settings_are_read(tmp_path):
    (tmp_path / "serve.toml").write_text(BLOCKS["toml"])
    found = read(tmp_path / "serve.toml")
    assert {name: getattr(found, name) for name in tomllib.loads(BLOCKS["toml"])} == tomllib.loads(BLOCKS["toml"])


def test_the_code_for_receivers_tells_genuine_webhooks_from_others():
    space: dict = {}
    exec(BLOCKS["python"], space)
    body, moment = b'{"id": 1}', str(int(time.time()))
    headers = {"Imdl-Time": moment, "Imdl-Signature": f"sha256={webhooks.signature('secret', moment, body)}"}
    assert space["is_genuine"](headers, body, "secret")
    assert not space["is_genuine"](headers, body + b" ", "secret")
    assert not space["is_genuine"](headers, body, "other")
    old = str(int(time.time()) - 600)
    headers = {"Imdl-Time": old, "Imdl-Signature": f"sha256={webhooks.signature('secret', old, body)}"}
    assert not space["is_genuine"](headers, body, "secret")


def test_every_route_of_the_table_exists(service):
    paths = service.get("/openapi.json").json()["paths"]
    named = re.findall(r"`(GET|POST) (/v1/[^`]*)`", TEXT)
    known = {re.sub(r"\{\w+\}", "{}", path) for path in paths}
    wanted = {re.sub(r"\{\w+\}", "{}", path).replace("decisions.csv", "{}") for _, path in named}
    assert len(wanted) >= 6
    assert wanted <= known
