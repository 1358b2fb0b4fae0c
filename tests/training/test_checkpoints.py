"""Checkpoints of the published key layout, made here with random values; ours, there and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from training import checkpoints, models
from training.errors import ForeignWeights


def published_layout() -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes of the three files, written down from their description, not from our modules."""
    files: dict[str, dict[str, tuple[int, ...]]] = {"HRNet": {}, "NLCDetection": {}, "DetectionHead": {}}
    for scale, (width, fold) in {1: (18, 4), 2: (36, 2), 3: (72, 2), 4: (144, 1)}.items():
        head, folded = f"getmask{scale}", width * fold * fold
        shapes = {
            "gamma_s": (1,),
            "gamma_c": (1,),
            "getmask.0.weight": (16, width, 3, 3),
            "getmask.0.bias": (16,),
            "getmask.2.weight": (1, 16, 3, 3),
            "getmask.2.bias": (1,),
        }
        shapes |= {f"{name}.weight": (folded, folded, 1, 1) for name in ("g", "theta", "phi")}
        shapes |= {f"{name}.bias": (folded,) for name in ("g", "theta", "phi")}
        shapes |= {f"{name}.weight": (width, width, 1, 1) for name in ("W_s", "W_c")}
        shapes |= {f"{name}.bias": (width,) for name in ("W_s", "W_c")}
        files["NLCDetection"] |= {f"{head}.{name}": shape for name, shape in shapes.items()}
    widths = (18, 36, 72, 144)
    detection = files["DetectionHead"]
    for index, width in enumerate(widths):
        block = f"incre_modules.{index}.0"
        convs = {
            "conv1": (width, width, 1),
            "conv2": (width, width, 3),
            "conv3": (2 * width, width, 1),
            "downsample.0": (2 * width, width, 1),
        }
        _convs(detection, block, convs, {"bn1": width, "bn2": width, "bn3": 2 * width, "downsample.1": 2 * width})
    for index in range(3):
        a, b = 2 * widths[index], 2 * widths[index + 1]
        _convs(detection, f"downsamp_modules.{index}", {"0": (b, a, 3)}, {"1": b})
        detection[f"downsamp_modules.{index}.0.bias"] = (b,)
    _convs(detection, "final_layer", {"0": (128, 288, 1)}, {"1": 128})
    detection |= {
        "final_layer.0.bias": (128,),
        "classifier.0.weight": (16, 128),
        "classifier.0.bias": (16,),
        "classifier.2.weight": (2, 16),
        "classifier.2.bias": (2,),
    }
    _trunk(files["HRNet"], widths)
    return files


def _convs(
    file: dict[str, tuple[int, ...]], prefix: str, convs: dict[str, tuple[int, int, int]], norms: dict[str, int]
) -> None:
    dot = f"{prefix}." if prefix else ""
    for name, (outputs, inputs, kernel) in convs.items():
        file[f"{dot}{name}.weight"] = (outputs, inputs, kernel, kernel)
    for name, width in norms.items():
        file |= {f"{dot}{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
        file[f"{dot}{name}.num_batches_tracked"] = ()


def _trunk(file: dict[str, tuple[int, ...]], widths: tuple[int, ...]) -> None:
    _convs(file, "", {"conv1": (64, 3, 3), "conv2": (64, 64, 3)}, {"bn1": 64, "bn2": 64})
    for index, inputs in enumerate((64, 256)):
        convs = {"conv1": (64, inputs, 1), "conv2": (64, 64, 3), "conv3": (256, 64, 1)}
        norms = {"bn1": 64, "bn2": 64, "bn3": 256}
        if index == 0:
            convs["downsample.0"], norms["downsample.1"] = (256, 64, 1), 256
        _convs(file, f"layer1.{index}", convs, norms)
    _convs(file, "transition1.0", {"0": (18, 256, 3)}, {"1": 18})
    _convs(file, "transition1.1.0", {"0": (36, 256, 3)}, {"1": 36})
    _convs(file, "transition2.2.0", {"0": (72, 36, 3)}, {"1": 72})
    _convs(file, "transition3.3.0", {"0": (144, 72, 3)}, {"1": 144})
    for stage in (2, 3, 4):
        for branch, width in enumerate(widths[:stage]):
            for block in (0, 1):
                _convs(
                    file,
                    f"stage{stage}.0.branches.{branch}.{block}",
                    {"conv1": (width, width, 3), "conv2": (width, width, 3)},
                    {"bn1": width, "bn2": width},
                )
        for i in range(stage):
            for j in range(stage):
                link = f"stage{stage}.0.fuse_layers.{i}.{j}"
                if j > i:
                    _convs(file, link, {"0": (widths[i], widths[j], 1)}, {"1": widths[i]})
                for k in range(i - j):
                    outputs = widths[i] if k == i - j - 1 else widths[j]
                    _convs(file, f"{link}.{k}", {"0": (outputs, widths[j], 3)}, {"1": outputs})


def random_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {f"module.{name}": torch.rand(shape) if shape else torch.tensor(7) for name, shape in shapes.items()}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    torch.manual_seed(0)
    paths = []
    for name, shapes in published_layout().items():
        paths.append(tmp_path / f"{name}.pth")
        torch.save(random_state(shapes), paths[-1])
    return paths


def test_layout_has_the_published_numbers_of_tensors() -> None:
    assert {name: len(shapes) for name, shapes in published_layout().items()} == {
        "HRNet": 444,
        "NLCDetection": 64,
        "DetectionHead": 128,
    }


def test_published_files_load_strictly(files: list[Path]) -> None:
    detector = checkpoints.load_published("psccnet", files)
    assert detector.settings["layout"] == "released"
    head = torch.load(files[1], weights_only=True)
    assert torch.equal(detector.net.localisation.scales["1"].spatial.weight, head["module.getmask1.W_s.weight"])
    trunk = torch.load(files[0], weights_only=True)
    assert torch.equal(
        detector.net.trunk.stage4[0].fuse_layers[3]["0"][2][0].weight,
        trunk["module.stage4.0.fuse_layers.3.0.2.0.weight"],
    )


def test_a_missing_file_is_told(files: list[Path]) -> None:
    told = r"(?s)HRNet.pth, .*NLCDetection.pth holds no weights of psccnet: .*Missing key\(s\).*-> give all files"
    with pytest.raises(ForeignWeights, match=told):
        checkpoints.load_published("psccnet", files[:2])


def test_ours_come_back_as_they_were(tmp_path: Path) -> None:
    detector = models.create("psccnet-lite", grid=32)
    detector.calibration.copy_(torch.tensor([2.0, -1.0]))
    checkpoints.save(tmp_path / "model.pt", "psccnet-lite", detector)
    loaded = checkpoints.load(tmp_path / "model.pt")
    assert loaded.settings == detector.settings
    for name, tensor in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_what_an_older_file_does_not_tell_is_as_it_was(tmp_path: Path) -> None:
    """Not as the variant has it now: a score of another meaning would look like any other."""
    checkpoints.save(tmp_path / "model.pt", "mantranet-lite", models.create("mantranet-lite", score="mean"))
    content = checkpoints.read(tmp_path / "model.pt")
    del content["settings"]["score"]
    torch.save(content, tmp_path / "older.pt")
    assert checkpoints.load(tmp_path / "older.pt").settings["score"] == "mean"
    assert models.create("mantranet-lite").settings["score"] == "weighted"


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "model.pt", "psccnet-lite", models.create("psccnet-lite", grid=32))
    with pytest.raises(ValueError, match="holds weights of psccnet-lite, not of psccnet\n  -> name psccnet-lite"):
        checkpoints.load(tmp_path / "model.pt", model="psccnet")


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    """In one line of torch's, without its advice to load it all the same."""
    for content, reason in {
        b"": "EOFError",
        b"hello": r"KeyError 101",
        b"\xff\xd8\xff\xe0": "UnpicklingError Unsupported operand 255",
        b"PK\x03\x04": "RuntimeError PytorchStreamReader failed reading zip archive: .*",
    }.items():
        (tmp_path / "model.pt").write_bytes(content)
        words = rf"model.pt is no checkpoint: {reason}\n  -> give a file written by torch.save$"
        with pytest.raises(ValueError, match=words):
            checkpoints.load(tmp_path / "model.pt")


def test_of_a_first_step_it_is_told_what_takes_it(tmp_path: Path) -> None:
    torch.save({"model": "mantranet-lite-imc", "settings": {}, "state": {}}, tmp_path / "ema.pt")
    with pytest.raises(
        ValueError, match=r"locates nothing\n  -> python -m training classify judges them; .* --weights"
    ):
        checkpoints.load(tmp_path / "ema.pt")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"lacks \['model', 'settings', 'state'\]\n  -> give a checkpoint written by"):
        checkpoints.load(tmp_path / "model.pt")


def test_a_model_without_a_published_checkpoint_is_told() -> None:
    with pytest.raises(
        ValueError, match="no model with a published checkpoint named 'psccnet-lite'\n  -> did you mean"
    ):
        checkpoints.load_published("psccnet-lite", [])
