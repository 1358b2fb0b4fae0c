"""Proof that it is PSCC-Net: its counts, its cost, and its modules against naive float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kernels.sccm_attention import reference
from training import models
from training.models.psccnet import FOLDS, SCCM, Config


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_published_ones() -> None:
    net = models.create("psccnet").net
    assert [parameters(part) for part in (net.trunk, net.localisation, net.detection)] == [2_028_572, 719_824, 919_546]
    assert len(net.trunk.state_dict()) == 444


@pytest.mark.parametrize(
    ("name", "size", "giga_macs"),
    [
        ("psccnet", (256, 256), 45.0),
        ("psccnet", (512, 512), 117.3),
        ("psccnet", (1080, 1920), 783.4),
        ("psccnet-lite", (256, 256), 8.4),
        ("psccnet-lite", (512, 512), 26.4),
        ("psccnet-lite", (1080, 1920), 193.0),
    ],
)
def test_multiply_accumulates(name: str, size: tuple[int, int], giga_macs: float) -> None:
    with torch.device("meta"):
        detector = models.create(name).eval()
        frame = torch.zeros(1, *size, 3, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            detector(frame)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_macs, rel=0.01)


@pytest.mark.parametrize("finest", [1, 2, 3, 4])
def test_early_exit_leaves_out_the_finer_scales(finest: int) -> None:
    detector = models.create("psccnet", finest_mask=finest, grid=32).eval()
    with torch.inference_mode():
        logits = detector.logits(torch.zeros(1, 40, 33, 3, dtype=torch.uint8))
    assert [mask.shape[-1] for mask in logits.masks] == [32, 16, 8, 4][finest - 1 :]
    assert sorted(detector.net.localisation.scales) == [str(scale) for scale in range(finest, 5)]


@pytest.mark.parametrize("size", [(1, 1), (3, 90), (32, 32), (33, 47), (64, 121)])
@pytest.mark.parametrize("name", ["psccnet", "psccnet-lite"])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    detector = models.create(name, grid=32).eval()
    with torch.inference_mode():
        heatmap, score = detector(torch.zeros(2, *size, 3, dtype=torch.uint8))
    assert heatmap.shape == (2, *size)
    assert score.shape == (2,)
    assert ((heatmap >= 0) & (heatmap <= 1)).all()


def conv1x1(conv: nn.Conv2d, x: np.ndarray) -> np.ndarray:
    weight, bias = (tensor.detach().double().numpy() for tensor in (conv.weight[:, :, 0, 0], conv.bias))
    return np.einsum("oi,ihw->ohw", weight, x) + bias[:, None, None]


def naive_sccm(module: SCCM, x: np.ndarray, layout: str) -> np.ndarray:
    """z of one image [C, h, w], element by element as section III.B writes it."""
    width, height, breadth = x.shape
    fold = module.fold
    folded = x.reshape(width * fold**2, height // fold, breadth // fold)
    theta, phi, g = (
        conv1x1(conv, folded).reshape(folded.shape[0], -1)[None] for conv in (module.theta, module.phi, module.g)
    )
    spatial, channel = (product[0] for product in reference.sccm_attention(theta, phi, g))
    spatial = spatial.T.reshape(x.shape)
    channel = (channel.T if layout == "paper" else channel).reshape(x.shape)
    gammas = [float(gamma.detach()) for gamma in (module.gamma_s, module.gamma_c)]
    return x + gammas[0] * conv1x1(module.spatial, spatial) + gammas[1] * conv1x1(module.channel, channel)


def z_of(module: SCCM, x: np.ndarray) -> np.ndarray:
    caught = []
    handle = module.mask.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    with torch.inference_mode():
        module(torch.from_numpy(x.astype(np.float32))[None])
    handle.remove()
    return caught[0][0].numpy()


@pytest.mark.parametrize("layout", ["paper", "released"])
@pytest.mark.parametrize("fold", sorted(set(FOLDS)))
def test_sccm_equals_naive_numpy(layout: str, fold: int, rng: np.random.Generator) -> None:
    torch.manual_seed(3)
    module = SCCM(3, fold, layout)
    x = rng.standard_normal((3, 8, 16)).astype(np.float32)
    np.testing.assert_allclose(z_of(module, x), naive_sccm(module, x.astype(np.float64), layout), atol=2e-5)


def test_layouts_differ(rng: np.random.Generator) -> None:
    torch.manual_seed(3)
    module = SCCM(3, 2, "paper")
    x = rng.standard_normal((3, 8, 16))
    assert np.abs(z_of(module, x) - naive_sccm(module, x, "released")).max() > 1e-2


def test_reshape_is_not_pixel_unshuffle(rng: np.random.Generator) -> None:
    """Channel c r^2 + k of the reshape is band k of channel c; pixel-unshuffle would interleave pixels."""
    x = torch.from_numpy(rng.standard_normal((1, 2, 8, 8)))
    folded = x.reshape(1, 8, 4, 4)
    assert not torch.equal(folded, nn.functional.pixel_unshuffle(x, 2))
    for channel in range(2):
        for band in range(4):
            rows = x[0, channel, 2 * band : 2 * band + 2]
            assert torch.equal(folded[0, 4 * channel + band].flatten(), rows.flatten())
    torch.manual_seed(3)
    module = SCCM(2, 2, "paper")
    unshuffled = nn.functional.pixel_unshuffle(x, 2).reshape(x.shape)[0].numpy()
    assert np.abs(z_of(module, x[0].numpy()) - z_of(module, unshuffled)).max() > 1e-2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": 100}, "grid is 100\n  -> use a multiple of 32 px"),
        ({"layout": "papr"}, "layout is 'papr'\n  -> use 'paper' or 'released'"),
        ({"stem_stride": 3}, "stem_stride is 1 or 2"),
    ],
)
def test_config_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_unknown_setting_and_model_suggest() -> None:
    with pytest.raises(ValueError, match="no setting of psccnet named 'gird'\n  -> did you mean 'grid'"):
        models.create("psccnet", gird=64)
    with pytest.raises(ValueError, match="no model named 'psccnte'\n  -> did you mean 'psccnet'"):
        models.create("psccnte")
