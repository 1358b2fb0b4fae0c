"""Mirrored borders against NumPy's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.nn.padding import symmetric

sides = st.integers(1, 9)


@given(height=sides, width=sides, pad=st.integers(1, 5))
def test_equals_numpy(height: int, width: int, pad: int) -> None:
    x = torch.arange(2.0 * height * width).reshape(1, 2, height, width)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="symmetric")
    np.testing.assert_array_equal(symmetric(x, pad).numpy(), expected)


def test_two_wide_it_is_neither_replicate_nor_reflect() -> None:
    x = torch.arange(5.0).reshape(1, 1, 1, 5).expand(1, 1, 5, 5)
    padded = symmetric(x, 2)
    for mode in ("replicate", "reflect"):
        assert not torch.equal(padded, torch.nn.functional.pad(x, (2, 2, 2, 2), mode=mode))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: apt-get install g++")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize("pad", [1, 2])
def test_a_compiled_gradient_is_the_eager_one_whatever_the_layout(pad) -> None:
    def loss(x):
        return (symmetric(x, pad) * torch.arange(4.0 + 2 * pad)).sum()

    one, other = (torch.ones(2, 3, 5, 4).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    loss(one).backward()
    torch.compile(loss, dynamic=False)(other).backward()
    assert torch.equal(one.grad, other.grad)
