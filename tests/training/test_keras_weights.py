"""ManTra-Net's Keras files, made here with random values in the layout that Keras writes."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from training import checkpoints, keras_weights, models
from training.commands import main
from training.errors import ForeignWeights
from training.evaluation.predictors import Checkpoint
from training.recipes import mantranet

Shapes = dict[str, dict[str, tuple[int, ...]]]


def published_layout(free: int) -> Shapes:
    """Layers, weights and shapes written down from the description of the released model, not from our modules."""
    widths = {"b1c2": 32, "b2c1": 64, "b2c2": 64, **dict.fromkeys(("b3c1", "b3c2", "b3c3"), 128)}
    widths |= dict.fromkeys(("b4c1", "b4c2", "b4c3", "b5c1", "b5c2", "transform"), 256)
    layers: Shapes = {"b1c1": {"regular_kernel": (5, 5, 3, free), "bayar_kernel": (5, 5, 3, 3)}}
    inputs = free + 12
    for name, width in widths.items():
        layers[name] = {"kernel": (3, 3, inputs, width), "bias": (width,)}
        inputs = width
    return layers | {
        "outlierTrans": {"kernel": (1, 1, 256, 64)},
        "bnorm": {"moving_mean": (64,), "moving_variance": (64,)},
        "glbStd": {"min_std": (1, 1, 1, 64)},
        "cLSTM": {"kernel": (7, 7, 64, 32), "recurrent_kernel": (7, 7, 8, 32), "bias": (32,)},
        "pred": {"kernel": (7, 7, 8, 1), "bias": (1,)},
    }


def write(file: Path, layers: Shapes, *, above: str = "", again: str = "") -> dict[str, np.ndarray]:
    """What ``save_weights`` writes: the extractor is a model of its own within the file."""
    rng = np.random.default_rng(0)
    written = {}
    with h5py.File(file, "w") as content:
        root = content.require_group(above) if above else content
        root.attrs["keras_version"] = b"2.2.0"
        for layer, weights in layers.items():
            group = root.require_group("Featex" if layer.startswith("b") and layer != "bnorm" else layer)
            for name, shape in weights.items():
                values = rng.random(shape, np.float32) / max(1, np.prod(shape[:-1]))  # so that answers stay finite
                written[f"{layer}/{name}"] = values.astype(np.float32)
                group[f"{layer}{again}/{name}:0"] = written[f"{layer}/{name}"]
    return written


@pytest.mark.parametrize("free", [4, 20])
@pytest.mark.parametrize(("above", "again"), [("", ""), ("model_weights", "_1")])
def test_published_files_load_strictly(tmp_path: Path, free: int, above: str, again: str) -> None:
    written = write(tmp_path / "weights.h5", published_layout(free), above=above, again=again)
    detector = checkpoints.load_published("mantranet", [tmp_path / "weights.h5"])
    assert detector.settings["free"] == free
    net = detector.net
    places = {
        "b1c1/regular_kernel": net.extractor.first.free, "b1c1/bayar_kernel": net.extractor.first.bayar,
        "b1c2/kernel": net.extractor.body[0].weight, "b3c3/bias": net.extractor.body[5].bias,
        "b5c2/kernel": net.extractor.body[10].weight, "transform/kernel": net.extractor.last.weight,
        "outlierTrans/kernel": net.adapt.weight, "pred/kernel": net.head.weight,
        "bnorm/moving_variance": net.zpool.norm.running_var, "cLSTM/recurrent_kernel": net.lstm.recurrent.weight,
        "cLSTM/bias": net.lstm.input.bias,
    }  # fmt: skip
    for name, ours in places.items():
        stored = written[name]
        expected = stored.transpose(3, 2, 0, 1) if stored.ndim == 4 else stored
        np.testing.assert_array_equal(ours.detach().numpy(), expected, err_msg=name)
    np.testing.assert_array_equal(net.zpool.min_std.detach().numpy(), written["glbStd/min_std"][0, 0, 0])


def test_the_released_file_has_the_published_number_of_weights() -> None:
    sizes = [np.prod(shape) for weights in published_layout(4).values() for shape in weights.values()]
    assert sum(sizes) == 3_805_078


def test_settings_that_a_file_cannot_tell_are_given(tmp_path: Path) -> None:
    write(tmp_path / "weights.h5", published_layout(20))
    detector = checkpoints.load_published("mantranet", [tmp_path / "weights.h5"], windows="7-15-31-63", bounded=True)
    assert detector.net.config.sides == (7, 15, 31, 63)
    assert detector.net.extractor.bounded


def test_missing_and_foreign_weights_are_named(tmp_path: Path) -> None:
    layers = published_layout(4)
    layers["dense"] = {"kernel": (3, 4)}
    del layers["pred"]["bias"]
    write(tmp_path / "weights.h5", layers)
    told = "no weights of mantranet: it lacks pred/bias; it has dense/kernel besides\n  -> give the whole model's"
    with pytest.raises(ForeignWeights, match=re.escape(told)):
        checkpoints.load_published("mantranet", [tmp_path / "weights.h5"])


def test_weights_of_another_shape_are_told(tmp_path: Path) -> None:
    write(tmp_path / "weights.h5", published_layout(4) | {"pred": {"kernel": (5, 5, 8, 1), "bias": (1,)}})
    with pytest.raises(ForeignWeights, match=r"(?s)weights.h5 holds no weights of mantranet: .*head.weight.*-> give"):
        checkpoints.load_published("mantranet", [tmp_path / "weights.h5"])


def test_a_keras_file_is_a_checkpoint(tmp_path: Path) -> None:
    write(tmp_path / "weights.h5", published_layout(4))
    loaded = checkpoints.load(tmp_path / "weights.h5", model="mantranet")
    expected = checkpoints.load_published("mantranet", [tmp_path / "weights.h5"]).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(ValueError, match="weights of mantranet, not of psccnet\n  -> name mantranet"):
        checkpoints.load(tmp_path / "weights.h5", model="psccnet")
    write(tmp_path / "weights.h5", published_layout(20))
    with pytest.raises(ValueError, match=r"has 20 free filters: .* whose windows no file tells\n  -> load_published"):
        checkpoints.load(tmp_path / "weights.h5")


def test_the_command_evaluates_a_keras_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, rng = {}, np.random.default_rng(1)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("one", "two"):
        frames[name] = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), frames[name])
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), 255 * (np.indices((40, 48))[1] < 20).astype(np.uint8))
    write(tmp_path / "weights.h5", published_layout(4))
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--threads", "1"]
    assert main(["evaluate", "--checkpoint", str(tmp_path / "weights.h5"), *options]) == 0
    assert "pixel_auc" in capsys.readouterr().out
    answer = Checkpoint(tmp_path / "weights.h5").predict(frames["one"])
    detector = checkpoints.load_published("mantranet", [tmp_path / "weights.h5"]).eval()
    with torch.inference_mode():
        heatmap, _ = detector(torch.from_numpy(frames["one"])[None])
    np.testing.assert_allclose(answer.heatmap, heatmap[0].numpy(), atol=1e-6)
    with h5py.File(tmp_path / "other.h5", "w") as content:
        content["dense/dense/kernel:0"] = np.ones((3, 4), np.float32)
        content["words"] = "no weights at all"
        content["nothing"] = h5py.Empty("f")
    assert main(["evaluate", "--checkpoint", str(tmp_path / "other.h5"), *options]) == 2
    assert "other.h5 holds no weights of mantranet: it lacks " in capsys.readouterr().err


def test_training_goes_on_from_a_keras_file(tmp_path: Path) -> None:
    write(tmp_path / "weights.h5", published_layout(4))
    detector = models.create("mantranet")
    mantranet.start(detector, tmp_path / "weights.h5", "mantranet")
    expected = checkpoints.load_published("mantranet", [tmp_path / "weights.h5"]).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in detector.state_dict().items())
    with pytest.raises(ValueError, match="weights of mantranet, not of mantranet-lite\n  -> name mantranet"):
        mantranet.start(models.create("mantranet-lite"), tmp_path / "weights.h5", "mantranet-lite")


def test_the_optimisers_state_is_left_aside_and_doubles_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as content:
        content["model_weights/a/a/kernel:0"] = np.ones((1, 1, 2, 3), np.float32)
        content["optimizer_weights/a/kernel:0"] = np.ones(3, np.float32)
        content["loose"] = np.float32(3)
    weights = keras_weights.read(tmp_path / "model.h5")
    assert {key: tuple(value.shape) for key, value in weights.items()} == {
        ("a", "kernel"): (1, 1, 2, 3),
        ("", "loose"): (),
    }
    with h5py.File(tmp_path / "model.h5", "a") as content:
        content["model_weights/b/a_2/kernel:0"] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"holds \('a', 'kernel'\) twice\n  -> give a file with one model"):
        keras_weights.read(tmp_path / "model.h5")


def test_other_files_are_told(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"(?s)weights.pth is no HDF5 file: .*-> give the weights that Keras saved"):
        checkpoints.load_published("mantranet", [tmp_path / "weights.pth"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoints.load_published("mantranet", [tmp_path / "nowhere.h5"])
    with pytest.raises(ValueError, match=r"one file, got 2\n  -> give one of its .h5"):
        checkpoints.load_published("mantranet", [tmp_path / "a.h5", tmp_path / "b.h5"])
