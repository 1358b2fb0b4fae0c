"""From an artifact back to what is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export import checkpoint, parity
from export.checkpoint import trainable
from export.commands import main
from export.engines import gate
from export.engines import thaw as thaw_module
from export.engines.thaw import thaw
from export.freeze import freeze
from sdk import artifact
from sdk.artifact import SHIPPED
from sdk.errors import ArtifactInvalid, BadSetting, ParityFailed
from training import checkpoints, models
from training.models import mag
from training.nn.folding import pairs, unfold


def test_normalisation_comes_back_and_the_function_stays(exported, photographs):
    """In training mode too, on the frames whose statistics were taken; the tests of parity hold it to the artifact."""
    frames = torch.from_numpy(np.stack(photographs))
    detector = trainable(artifact.read(exported[0]), photographs)
    with torch.no_grad():
        settled = detector.eval()(frames)[0]
        trained = detector.train()(frames)[0]
    assert settled.std() > 0.01
    torch.testing.assert_close(trained, settled, atol=1e-3, rtol=0)


def test_what_was_simplified_is_the_artifact_again(photographs):
    """What mantranet-lite is trained on from answers as it does, and has its halves once it is exported again."""
    loaded = artifact.read(SHIPPED / "mantranet-lite")
    frames = [photograph[:96, :128] for photograph in photographs]
    detector = trainable(loaded, frames)
    kept, again = thaw(loaded).net.state_dict(), freeze(detector).net.state_dict()
    assert kept.keys() == again.keys()
    assert not [name for name, value in kept.items() if not torch.equal(again[name], value)]
    with torch.no_grad():
        settled = detector.eval()(torch.from_numpy(np.stack(frames)))[0]
        trained = detector.train()(torch.from_numpy(np.stack(frames)))[0]
    assert settled.std() > 0.01
    torch.testing.assert_close(trained, settled, atol=1e-3, rtol=0)


def test_what_was_rounded_apart_is_compared_once_it_is_rounded_again(photographs, monkeypatch):
    """By how much depends on the weights that ship: the first comparison is given no budget, so that there are more."""
    rows, require = [], checkpoint.require
    monkeypatch.setattr(checkpoint, "require", lambda found, **say: (rows.extend(found), require(found, **say)))
    compared, budgets = gate.thawed_row, iter([0.0])

    def without_budget(*compare: object) -> parity.ParityRow:
        row = compared(*compare)
        return replace(row, budget=next(budgets, row.budget))

    monkeypatch.setattr(gate, "thawed_row", without_budget)
    trainable(artifact.read(SHIPPED / "mag-lite"), [photographs[0][:96, :128]])
    assert [row.case for row in rows] == ["weights of the artifact", "weights folded and rounded"]


@pytest.mark.parametrize("missing", [True, False])
def test_an_artifact_with_other_weights_is_refused(missing, monkeypatch):
    """As one that another version exported, whose network had another first layer."""
    loaded, name = artifact.read(SHIPPED / "mantranet-lite"), "net.extractor.first.weight"
    stored = thaw_module._stored(loaded)
    value = stored.pop(name) if missing else stored[name]
    if not missing:
        stored["net.extractor.first.bias"] = value[:, 0, 0, 0]
    monkeypatch.setattr(thaw_module, "_stored", lambda _: stored)
    told = (
        "does not hold these weights of mantranet-lite under"
        if missing
        else "holds weights that layers of mantranet-lite no longer have"
    )
    with pytest.raises(ArtifactInvalid, match=rf"{told}.*extractor\.first\.[\s\S]*export the model again"):
        thaw(loaded)


def test_statistics_are_those_of_the_frames(exported, photographs):
    """The first normalisation sees the first convolution's answers: of the frames given, and of no others."""
    detector = trainable(artifact.read(exported[0]), photographs)
    seen = []
    detector.net.trunk.conv1.register_forward_hook(lambda _, __, answer: seen.append(answer.double()))
    with torch.no_grad():
        detector.eval()(torch.from_numpy(np.stack(photographs)))
    (answer,), norm = seen, detector.net.trunk.bn1
    torch.testing.assert_close(norm.running_mean, answer.mean((0, 2, 3)).float(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, answer.var((0, 2, 3), correction=0).float(), atol=1e-6, rtol=1e-3)


def test_what_was_merged_for_good_is_refused(photographs, monkeypatch):
    monkeypatch.setattr(checkpoint, "Unsimplifiable", ())
    loaded = artifact.read(SHIPPED / "mantranet-lite")
    with pytest.raises(BadSetting, match=r"simplified for deployment, net\.extractor\.first\.free cannot be told"):
        trainable(loaded, [photographs[0][:32, :32]])


@pytest.mark.parametrize("traces", [True, False])
@pytest.mark.parametrize(("of_the_frame", "stem"), [(True, 0), (False, 0), (True, 5)])
def test_a_merged_network_is_taken_apart_again(traces: bool, of_the_frame: bool, stem: int):
    """Every weight that answers for the mask, up to the scales of normalisations, which the function does not show."""
    torch.manual_seed(4)
    how = {"width": 3, "widest": 6, "depth": 3, "dropout": 0.0, "refined": 2, "stem": stem, "traces": traces}
    config = mag.Config(classes=1, **how, of_the_frame=of_the_frame)
    net, again = (mag.Annotator(config).eval() for _ in range(2))
    merged = mag.simplified(net)
    plain = again.state_dict()
    known = {
        name: value if name not in plain else value.reshape(plain[name].shape)
        for name, value in again.unsimplified(merged.state_dict(), {}).items()
    }
    folded = dict(pairs(again))
    for conv, norm in folded.items():
        zero, one = (torch.full_like(known[f"{conv}.bias"], value) for value in (0.0, 1.0))
        unfold(again.get_submodule(norm), known.pop(f"{conv}.bias"), zero, one)
    left = again.load_state_dict(known, strict=False)
    unasked = (*folded.values(), "stem.0.bias", "stem.3.bias")  # biases that a normalisation takes away again
    assert not left.unexpected_keys and all(name.startswith(unasked) for name in left.missing_keys)
    x = torch.rand(1, 3, 24, 16)
    torch.testing.assert_close(again.annotate(x)[:, :1], net.annotate(x)[:, :1], atol=1e-5, rtol=1e-4)


def test_what_does_not_answer_as_the_artifact_is_no_checkpoint(exported, photographs, monkeypatch):
    """A scale that is not the one that was folded in does not pass for the artifact's model."""
    monkeypatch.setattr(checkpoint, "unfold", lambda *_: None)
    with pytest.raises(ParityFailed, match="what was made of small-0 does not answer as it does"):
        trainable(artifact.read(exported[0]), photographs)


@pytest.mark.parametrize("name", ["psccnet-lite", "mantranet-lite"])
def test_every_shipped_artifact_is_taken_up_again(name: str):
    thaw(artifact.read(SHIPPED / name))


@pytest.mark.parametrize("name", ["gsrnet-lite", "mag-lite"])
def test_those_that_normalise_by_the_frame_give_their_weights_back(name: str, photographs):
    loaded = artifact.read(SHIPPED / name)
    detector = trainable(loaded, [photographs[0][:64, :96]])
    assert detector.settings == dict(loaded.contract.settings)


def test_the_verb_writes_what_training_reads(exported, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("export.commands.STATISTICS_SAMPLES", 2)
    monkeypatch.setattr("export.commands.STATISTICS_SIZE", 64)
    file, folder = tmp_path / "new" / "start.pt", Path("sdk/samples")
    assert main(["checkpoint", str(exported[0]), "--photographs", str(folder), "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    detector = models.create("psccnet-lite", grid=64)
    detector.load_state_dict(checkpoints.fitting(file, detector, model="psccnet-lite"))
    assert torch.equal(detector.calibration, torch.tensor([1.0, 0.0]))
