"""``python -m export tensorrt`` and ``aotinductor``: what is asked for is built, and what is lacking is said."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch

from export import commands
from export.engines import commands as engines
from export.targets import aotinductor, tensorrt
from sdk import artifact
from sdk.engines.profile import Profile
from sdk.errors import ArtifactInvalid, DeviceUnavailable
from tests.sdk import toy


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with ``artifacts/mine`` in it."""
    monkeypatch.chdir(tmp_path)
    toy.build(tmp_path / "artifacts" / "mine", name="mine", precisions=("f32", "fp16"))
    return tmp_path


def parsed(*arguments: str):
    return commands.parser().parse_args(list(arguments))


def test_a_name_that_does_not_ship_is_looked_for_where_exports_go(home):
    assert engines.find("mine").path == home / "artifacts" / "mine"
    assert engines.find(artifact.DEFAULT).ships
    with pytest.raises(ArtifactInvalid, match=r"no model named 'psccnet'[\s\S]*python -m export onnx psccnet"):
        engines.find("psccnet")


def test_a_name_that_ships_is_the_one_that_load_takes_whatever_lies_where_exports_go(home, capsys):
    own = toy.build(home / "artifacts" / artifact.DEFAULT, name=artifact.DEFAULT)
    assert engines.find(artifact.DEFAULT).path == artifact.find(artifact.DEFAULT).resolve()
    assert f"give the path of the other one: {own.relative_to(home)}" in capsys.readouterr().err
    assert engines.find(str(own)).path == own
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "profile"),
    [
        ((), Profile()),
        (("--frame", "720x1280", "--batch", "4"), Profile.only(720, 1280, batch=4)),
        (("--largest", "600x800"), Profile(usual=(600, 800), largest=(600, 800))),
    ],
)
def test_frames_that_are_asked_for_are_the_profile(arguments, profile):
    assert engines.profile(parsed("tensorrt", "mine", *arguments)) == profile
    assert all(parsed(verb, "mine", "--evaluation", "x").evaluation for verb in ("tensorrt", "aotinductor"))
    built_in = dataclasses.replace(profile, working_size=512)
    assert engines.profile(parsed("aotinductor", "mine", "--working-size", "512", *arguments)) == built_in


def test_precisions_are_those_the_model_bears_unless_others_are_named(home):
    found = engines.find("mine")
    assert engines.precisions(parsed("aotinductor", "mine"), found) == ["f32", "fp16"]
    assert engines.precisions(parsed("tensorrt", "mine", "--precision", "f32"), found) == ["f32"]


def test_without_a_gpu_graphs_are_written_and_no_engine_is_built(home, monkeypatch, capsys):
    asked = []

    def export(found, target, **settings):
        asked.append((found.contract.name, target, settings["precisions"], settings["plugins"]))
        return found

    monkeypatch.setattr(tensorrt, "export", export)
    monkeypatch.setattr(engines.gpu, "count", lambda: 0)
    assert commands.main(["tensorrt", "mine"]) == 0
    assert commands.main(["tensorrt", "mine", "--plugins"]) == 0
    assert asked == [("mine", home / "artifacts" / "mine", ["f32", "fp16"], plugins) for plugins in (False, True)]
    said = capsys.readouterr()
    assert said.out.split() == 2 * [str(home / "artifacts" / "mine")]
    assert "no engine was built" in said.err
    path = json.dumps(str(home / "artifacts" / "mine"))
    assert f'sdk.load({path}, backend="tensorrt").warmup()' in said.err
    assert f'sdk.load({path}, backend="tensorrt_plugins").warmup()' in said.err


def test_a_shipped_artifact_is_never_written_to(home, monkeypatch):
    targets = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setattr(tensorrt, "export", lambda found, target, **_: targets.append(target) or found)
    assert commands.main(["tensorrt", artifact.DEFAULT, "--no-build"]) == 0
    shipped = artifact.read(artifact.find())
    graphs = home / "cache" / "imdl-sdk" / "engines" / "graphs"
    assert targets == [graphs / f"{shipped.name}-{shipped.digest}"]


def test_a_torch_without_cuda_compiles_nothing_for_it(home, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for built, words in ((False, "it is built without CUDA"), (True, "it finds no GPU")):
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda built=built: built)
        assert commands.main(["aotinductor", "mine"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"torch {torch.__version__} cannot compile for cuda: {words}\n  -> run this where")
        with pytest.raises(DeviceUnavailable, match=words):
            aotinductor.export(engines.find("mine"), device="cuda", precision="f32", profile=Profile(), photographs=())


def test_each_precision_is_compiled_for_the_device_that_was_named(home, monkeypatch, capsys):
    compiled = []

    def export(found, **settings):
        compiled.append((settings["device"], settings["precision"], settings["plugins"], settings["profile"]))
        return SimpleNamespace(key=SimpleNamespace(digest="abc")), []

    monkeypatch.setattr(aotinductor, "export", export)
    command = ["aotinductor", "mine", "--device", "cpu", "--frame", "64x64"]
    assert commands.main([*command, "--precision", "bf16", "fp16"]) == 0
    profile = Profile.only(64, 64, working_size=0)
    assert compiled == [("cpu", "bf16", False, profile), ("cpu", "fp16", False, profile)]
    said = capsys.readouterr()
    assert said.out == "abc\nabc\n"
    path = json.dumps(str(home / "artifacts" / "mine"))
    assert f'sdk.load({path}, backend="aotinductor", device="cpu", working_size=0) uses' in said.err
    assert commands.main([*command, "--plugins"]) == 0
    assert compiled[2:] == [("cpu", "f32", True, profile)]  # the one precision of our operators there
