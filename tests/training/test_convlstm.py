"""The convolutional LSTM against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.nn.convlstm import ConvLSTM, hard_sigmoid


def test_gates_are_keras_and_not_torchs() -> None:
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    torch.testing.assert_close(hard_sigmoid(x), torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0]))
    assert (hard_sigmoid(x) - torch.nn.functional.hardsigmoid(x)).abs().max() > 0.03


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Zero-padded cross-correlation of [C, H, W] with [O, C, k, k], pixel by pixel."""
    half = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half)))
    side = weight.shape[-1]
    return np.stack(
        [
            [(weight * padded[None, :, i : i + side, j : j + side]).sum((1, 2, 3)) for j in range(x.shape[2])]
            for i in range(x.shape[1])
        ]
    ).transpose(2, 0, 1)


def by_hand(layer: ConvLSTM, steps: list[np.ndarray]) -> np.ndarray:
    inputs, recurrent = (conv.weight.detach().numpy() for conv in (layer.input, layer.recurrent))
    bias = layer.input.bias.detach().numpy()[:, None, None]
    units = layer.units
    state = cell = np.zeros((units, *steps[0].shape[1:]))
    for step in steps:
        gates = convolve(step, inputs) + convolve(state, recurrent) + bias
        keep, forget, new, show = (gates[units * k : units * (k + 1)] for k in range(4))
        keep, forget, show = (np.clip(0.2 * gate + 0.5, 0, 1) for gate in (keep, forget, show))
        cell = forget * cell + keep * np.tanh(new)
        state = show * np.tanh(cell)
    return state


@pytest.mark.parametrize("count", [1, 4])
def test_equals_loops(count: int, rng: np.random.Generator) -> None:
    torch.manual_seed(1)
    layer = ConvLSTM(3, 2, 5).double()
    torch.nn.init.normal_(layer.input.bias)
    steps = [rng.standard_normal((3, 4, 6)) for _ in range(count)]
    state = layer([torch.from_numpy(step)[None] for step in steps])
    np.testing.assert_allclose(state[0].detach().numpy(), by_hand(layer, steps), atol=1e-12)


def test_starts_remembering_and_orthogonal() -> None:
    layer = ConvLSTM(3, 2, 5)
    assert layer.input.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    rows = layer.recurrent.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(8), atol=1e-5, rtol=0)


def test_the_order_of_steps_counts(rng: np.random.Generator) -> None:
    torch.manual_seed(1)
    layer = ConvLSTM(3, 2, 5)
    steps = [torch.from_numpy(rng.standard_normal((1, 3, 4, 6)).astype(np.float32)) for _ in range(2)]
    assert (layer(steps) - layer(steps[::-1])).abs().max() > 1e-3
