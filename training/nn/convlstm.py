"""A convolutional LSTM as Keras has it.

Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, without peepholes; Keras' ``ConvLSTM2D``, whose gates
are piecewise linear with slope 1/5 (torch's ``hardsigmoid`` has 1/6) and ordered input, forget, candidate, output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def hard_sigmoid(x: Tensor) -> Tensor:
    """``min(max(x / 5 + 1 / 2, 0), 1)``."""
    return torch.clamp(0.2 * x + 0.5, 0, 1)


class ConvLSTM(nn.Module):
    """One layer, zero-padded borders, bias on the input's convolution only; the last state is the output.

    Starts as in Keras: Glorot's weights from the input, orthogonal ones from the state, a forget gate with bias 1.
    """

    def __init__(self, inputs: int, units: int, kernel: int) -> None:
        super().__init__()
        self.units = units
        self.input = nn.Conv2d(inputs, 4 * units, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(units, 4 * units, kernel, padding=kernel // 2, bias=False)
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.zeros_(self.input.bias)
        nn.init.ones_(self.input.bias[units : 2 * units])

    def forward(self, steps: list[Tensor]) -> Tensor:
        """The state ``[N, units, H, W]`` after ``steps``, in order, each ``[N, inputs, H, W]``.

        Both states are zero before the first step, which therefore needs neither recurrence nor forget gate:

            i, f, o = hard_sigmoid(W x + U h + b),  g = tanh(W x + U h + b),  c = f c + i g,  h = o tanh(c)
        """
        keep, _, new, show = self.input(steps[0]).chunk(4, dim=1)
        cell = hard_sigmoid(keep) * torch.tanh(new)
        state = hard_sigmoid(show) * torch.tanh(cell)
        for step in steps[1:]:
            keep, forget, new, show = (self.input(step) + self.recurrent(state)).chunk(4, dim=1)
            cell = hard_sigmoid(forget) * cell + hard_sigmoid(keep) * torch.tanh(new)
            state = hard_sigmoid(show) * torch.tanh(cell)
        return state
