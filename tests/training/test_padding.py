"""Mirrored borders against NumPy's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.nn.padding import joined, symmetric

sides = st.integers(1, 9)


@pytest.mark.parametrize("made", [symmetric, joined])
@given(height=sides, width=sides, pad=st.integers(1, 5))
def test_equals_numpy(made, height: int, width: int, pad: int) -> None:
    x = torch.arange(2.0 * height * width).reshape(1, 2, height, width)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="symmetric")
    np.testing.assert_array_equal(made(x, pad).numpy(), expected)


def test_two_wide_it_is_neither_replicate_nor_reflect() -> None:
    x = torch.arange(5.0).reshape(1, 1, 1, 5).expand(1, 1, 5, 5)
    padded = symmetric(x, 2)
    for mode in ("replicate", "reflect"):
        assert not torch.equal(padded, torch.nn.functional.pad(x, (2, 2, 2, 2), mode=mode))


@pytest.fixture
def two_threads():
    """Torch runs on two threads: what it compiles for several is other code than for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: apt-get install g++")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("shape", "pad"), [((2, 16, 16, 16), 1), ((2, 3, 1, 4), 2)])
def test_a_compiled_gradient_is_the_eager_one_whatever_the_layout(shape, pad, layout) -> None:
    def loss(x, weight):
        return (symmetric(x, pad) * weight).sum()

    padded = symmetric(torch.ones(shape), pad)
    weight = (torch.arange(padded.numel()) % 251.0).view_as(padded).contiguous(memory_format=layout)  # sums are exact
    one, other = (torch.ones(shape).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    loss(one, weight).backward()
    torch.compile(loss, dynamic=False)(other, weight).backward()
    assert torch.equal(one.grad, other.grad)
