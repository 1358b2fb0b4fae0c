"""Fresh weights are the same whenever and wherever they are made."""

from __future__ import annotations

import pytest
import torch

from benchmarks.frames import photograph
from export.freeze import freeze, fresh


@pytest.fixture
def threads():
    """The number of torch's threads, put back after the test."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.usefixtures("threads")
def test_fresh_weights_do_not_depend_on_threads_or_on_what_was_drawn_before():
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        torch.rand(count)
        made.append(freeze(fresh("psccnet-lite", [photograph(96, 128)])).state_dict())
    first, second = made
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(tensor.dtype != torch.float64 for tensor in first.values())
