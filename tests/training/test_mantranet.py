"""Proof that it is ManTra-Net: its counts, its cost, and the whole of it against plain float64 NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kernels.zpool2d import reference
from sdk import tiles
from sdk.contract import Tiling
from tests.training.mantranets import SETTINGS, network, unit
from training import models
from training.models.mantranet import Config, ManTraNet
from training.nn.residuals import srm
from training.nn.vgg import BODIES

Map = np.ndarray


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> str:
    """A body of the usual depth and few channels: what reaches where does not depend on how many there are."""
    monkeypatch.setitem(BODIES, "narrow", (8,) * 11)
    return "narrow"


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 3_805_078),
        ({"body": "table5"}, 2_281_638),
        ({"free": 20, "windows": "7-15-31-63"}, 3_810_886),
        ({"halvings": 3}, 3_805_078),
    ],
    ids=str,
)
def test_parameter_counts_are_the_published_ones(settings: dict[str, object], count: int) -> None:
    net = models.create("mantranet", **settings).net
    statistics = net.zpool.norm.running_mean.numel() + net.zpool.norm.running_var.numel()
    assert sum(parameter.numel() for parameter in net.parameters()) + statistics == count


def test_layers_after_the_extractor_have_the_published_counts() -> None:
    net = models.create("mantranet").net
    parts = (net.extractor, net.adapt, net.zpool, net.lstm, net.head)
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [3_675_181, 16_384, 64, 112_928, 393]


@pytest.mark.parametrize(
    ("body", "size", "giga_macs"),
    [
        ("released", (512, 512), 1_085.8),
        ("released", (768, 1024), 3_257.5),
        ("released", (1080, 1920), 8_589),
        ("table5", (1080, 1920), 5_431),
    ],
)
def test_multiply_accumulates(body: str, size: tuple[int, int], giga_macs: float) -> None:
    with torch.device("meta"):
        detector = models.create("mantranet", body=body).eval()
        frame = torch.zeros(1, *size, 3, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            detector(frame)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_macs, rel=0.01)


def convolve(x: Map, weight: torch.Tensor, bias: torch.Tensor | None = None, *, mode: str = "symmetric") -> Map:
    """Cross-correlation of [C, H, W] with the border that ``mode`` of numpy.pad names."""
    side = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2), mode=mode)
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    y = np.tensordot(weight.detach().numpy(), views, ((1, 2, 3), (0, 3, 4)))
    return y if bias is None else y + bias.detach().numpy()[:, None, None]


def traces(net: ManTraNet, frame: Map) -> Map:
    """Section 3 on one frame, uint8 [H, W, 3]: 256 traces of unit length, [256, H, W]."""
    extractor = net.extractor
    x = frame.transpose(2, 0, 1) / 255 * 2 - 1
    filters = torch.cat([extractor.first.free, srm().double(), extractor.first.bayar])
    x = np.maximum(convolve(x, filters), 0)
    for conv in extractor.body:
        x = np.maximum(convolve(x, conv.weight, conv.bias), 0)[:, :: conv.stride[0], :: conv.stride[0]]
    x = convolve(x, extractor.last.weight, extractor.last.bias)
    x = np.tanh(x) if extractor.bounded else x
    return x / np.sqrt(np.maximum((x**2).sum(0), 1e-12))


def anomalies(net: ManTraNet, x: Map) -> Map:
    """Section 4 from traces to the heatmap, [H, W], in the order of the paper."""
    config, norm = net.config, net.zpool.norm
    x = convolve(x, net.adapt.weight)
    mean, variance = (each.numpy()[:, None, None] for each in (norm.running_mean, norm.running_var))
    x = (x - mean) / np.sqrt(variance + 1e-3)
    floor = 1e-6 + net.zpool.min_std.detach().numpy()
    sides = tuple(map(int, config.windows.split("-")))
    steps = reference.zpool2d(x[None], floor, sides, magnitude=config.magnitude)[0]
    state = cell = np.zeros((8, *x.shape[1:]))
    for step in steps if config.order == "near-to-far" else steps[::-1]:
        gates = convolve(step, net.lstm.input.weight, net.lstm.input.bias, mode="constant")
        gates += convolve(state, net.lstm.recurrent.weight, mode="constant")
        keep, forget, show = (np.clip(0.2 * gates[8 * k : 8 * k + 8] + 0.5, 0, 1) for k in (0, 1, 3))
        cell = forget * cell + keep * np.tanh(gates[16:24])
        state = show * np.tanh(cell)
    return 1 / (1 + np.exp(-convolve(state, net.head.weight, net.head.bias, mode="constant")[0]))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_plain_numpy(settings: dict[str, object], rng: np.random.Generator) -> None:
    net = network(**settings)
    frame = rng.integers(0, 256, (11, 9, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits, (mask,) = net.rest(net.local(unit(frame)))
    heatmap = anomalies(net, traces(net, frame))
    np.testing.assert_allclose(torch.sigmoid(mask)[0, 0].numpy(), heatmap, atol=1e-10)
    np.testing.assert_allclose(torch.softmax(logits, 1)[0, 1], heatmap.mean(), atol=1e-6)  # the mean is in float32
    assert heatmap.std() > 1e-4


def test_every_setting_changes_the_answer(rng: np.random.Generator) -> None:
    x = unit(rng.integers(0, 256, (11, 9, 3), dtype=np.uint8))
    changes = [{}, {"magnitude": False}, {"windows": "7-15-31-63"}, {"order": "far-to-near"}, {"bounded": True}]
    weights = network().state_dict()
    answers = []
    for settings in changes:
        net = network(**settings)
        net.load_state_dict(weights)
        with torch.inference_mode():
            answers.append(net.rest(net.local(x))[1][0])
    for one, other in itertools.combinations(answers, 2):
        assert (one - other).abs().max() > 1e-6


def test_autocast_leaves_the_first_layer_and_the_projection_in_full_precision(narrow: str) -> None:
    net = network(body=narrow).float()
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (cast,), raw = net.local(x), net.extractor.raw(x)
        score, (mask,) = net.rest([cast])
        residuals = net.extractor.residuals(x)
    assert residuals.dtype == raw.dtype == mask.dtype == torch.bfloat16
    with torch.inference_mode():
        first = net.extractor.residuals(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(net.extractor.traces(first), raw, atol=0, rtol=0)
    assert cast.dtype == score.dtype == torch.float32
    with torch.inference_mode():
        exact = net.adapt(raw.float()) / raw.float().norm(dim=1, keepdim=True)
    torch.testing.assert_close(cast, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("halvings", [0, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 90), (31, 31), (33, 47)])
@pytest.mark.parametrize("score", ["mean", "weighted"])
def test_any_size_and_its_score(size: tuple[int, int], halvings: int, score: str, rng: np.random.Generator) -> None:
    detector = models.create("mantranet", body="table5", halvings=halvings, score=score).eval()
    frame = torch.from_numpy(rng.integers(0, 256, (2, *size, 3), dtype=np.uint8))
    with torch.inference_mode():
        heatmap, found = detector(frame)
        mask = torch.sigmoid(detector.logits(frame).masks[0])
    expected = mask.mean((1, 2)) if score == "mean" else (mask**2).mean((1, 2)) / mask.mean((1, 2))
    assert heatmap.shape == (2, *size)
    assert ((heatmap >= 0) & (heatmap <= 1)).all()
    assert mask.shape == (2, *(-(-side // 2**halvings) for side in size))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    if not halvings:
        torch.testing.assert_close(heatmap, mask)


class Ready:
    """A result that is there already."""

    def __init__(self, outputs: dict[str, np.ndarray]) -> None:
        self.outputs = outputs

    def result(self) -> dict[str, np.ndarray]:
        return self.outputs


def combined(parts: list[tuple[int, np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of a whole from pixels, means and variances of its parts."""
    counts, means, variances = (np.stack([np.asarray(part[k]) for part in parts]) for k in range(3))
    share = (counts / counts.sum())[:, None, None]
    mean = (share * means).sum(0)
    return torch.from_numpy(mean), torch.from_numpy((share * (variances + (means - mean) ** 2)).sum(0))


@pytest.mark.parametrize(
    ("windows", "order", "size", "halvings"),
    [
        ("3-5", "near-to-far", (83, 71), 0),
        ("7-15-31", "near-to-far", (40, 135), 0),
        ("7-15-31", "far-to-near", (140, 20), 0),
        ("3-5", "near-to-far", (243, 251), 1),
        ("3-5", "near-to-far", (391, 378), 2),
    ],
    ids=str,
)
def test_two_passes_over_tiles_equal_the_whole(
    narrow: str, windows: str, order: str, size: tuple[int, int], halvings: int, rng: np.random.Generator
) -> None:
    net, stride = network(body=narrow, windows=windows, order=order, halvings=halvings).float(), 2**halvings
    frame = rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
    settings = {"align": stride, "height": 24, "width": 24, "strides": {"mask": stride}}
    first = Tiling(halo=net.reach[0], **settings)
    second = Tiling(halo=net.reach[0] + stride * net.answer_halo, **settings)
    assert len(list(tiles.tiles(frame.shape, second))) > 3
    parts = []
    with torch.inference_mode():
        for row, column in tiles.tiles(frame.shape, first):
            crop = frame[0, row.start : row.end, column.start : column.end]
            rows, columns = row.slices(stride)[1], column.slices(stride)[1]
            kept = net.zpool.norm(net.local(unit(crop).float())[0])[:, :, rows, columns].double()
            mean, variance = kept.mean((2, 3)), kept.var((2, 3), correction=0)
            parts.append((kept.shape[2] * kept.shape[3], mean.numpy(), variance.numpy()))
        mean, variance = combined(parts)
        maps = net.local(unit(frame[0]).float())
        for tiled, whole in zip((mean, variance), net.moments(maps), strict=True):
            torch.testing.assert_close(tiled.float(), whole, atol=1e-6, rtol=1e-5)

        def submit(tile: np.ndarray) -> Ready:
            part = net.local(unit(tile[0]).float())
            return Ready({"mask": net.answer(part, mean.float(), variance.float())[:, 0].numpy()})

        tiled, whole = tiles.run_tiled(submit, frame, second)["mask"], net.rest(maps)[1][0][:, 0].numpy()
    assert np.abs(1 / (1 + np.exp(-tiled)) - 1 / (1 + np.exp(-whole))).max() < 1e-5


@pytest.mark.parametrize(
    ("windows", "order", "reach"),
    [
        ("7-15-31", "near-to-far", 38),
        ("7-15-31", "far-to-near", 41),
        ("3", "near-to-far", 24),
        ("1", "far-to-near", 23),
    ],
)
def test_the_halo_is_what_an_answer_depends_on(narrow: str, windows: str, order: str, reach: int) -> None:
    net = network(body=narrow, windows=windows, order=order)
    x = torch.rand(8, 3, 1, 101, dtype=torch.float64, requires_grad=True)  # eight, as gates may be shut for one
    mean, variance = torch.zeros(8, 64, dtype=torch.float64), torch.ones(8, 64, dtype=torch.float64)
    net.answer(net.local(x), mean, variance)[:, 0, 0, 50].sum().backward()
    seen = torch.nonzero(x.grad.abs().amax((0, 1, 2)))
    assert (int(seen.min()), int(seen.max())) == (50 - reach, 50 + reach)
    assert net.reach[0] + net.answer_halo == reach


def test_a_step_of_training_moves_everything_and_constraints_hold_after_it() -> None:
    torch.manual_seed(0)
    detector = models.create("mantranet", body="table5").train()
    net = detector.net
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    with torch.no_grad():
        net.zpool.min_std.fill_(3.0)  # so that the floor decides and learns
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    frame = torch.randint(0, 256, (2, 12, 12, 3), dtype=torch.uint8)
    detector.logits(frame).masks[0][:, :6].sum().backward()
    optimiser.step()
    net.zpool.min_std.data[0] = -1
    net.constrain()
    assert not [name for name, parameter in net.named_parameters() if torch.equal(parameter, before[name])]
    torch.testing.assert_close(net.adapt.weight.flatten(1).norm(dim=1), torch.ones(64))
    torch.testing.assert_close(net.extractor.first.bayar.sum((2, 3)), torch.zeros(3, 3), atol=1e-5, rtol=0)
    assert net.zpool.min_std.min() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"body": "table6"}, "body is 'table6' and order 'near-to-far'\n  -> use 'released', 'table5' or 'lite'"),
        ({"order": "far"}, "order 'far'\n  -> use .* 'near-to-far' or 'far-to-near'"),
        ({"windows": "7,15"}, "windows is '7,15'\n  -> write sides in px with dashes"),
        ({"windows": "7-16"}, r"windows are \(7, 16\) px\n  -> use odd sides"),
        ({"free": 0}, "free is 0\n  -> use at least 1 free filter"),
        ({"score": "most"}, "score is 'most'\n  -> use 'mean', as in the paper, or 'weighted'"),
        ({"halvings": 4}, "halvings is 4\n  -> use 0, as in the paper, or up to 3"),
    ],
)
def test_config_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
