"""The Triton kernels of SCCM attention in Triton's interpreter; ``test_sccm_attention_triton.py`` runs this file.

Its process has TRITON_INTERPRET=1 from its start, since Triton asks for it when it is imported.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from triton.runtime import interpreter

from kernels.sccm_attention import reference, torch_triton
from kernels.testing import assert_parity

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
SHAPES = [
    (1, 3, 4),
    (2, 5, 8),
    (2, 20, 300),  # three ranges of keys and two parts of the positions, not all of them whole
    (2, 144, 16),
    (1, 161, 72),  # a tail of channels that is as long as can be, and hardly filled
    (1, 288, 136),  # the most channels of PSCC-Net
]


@pytest.fixture(autouse=True)
def bf16_is_multiplied_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.7's interpreter holds bfloat16 as uint16, and multiplies those."""
    multiply = interpreter.InterpreterBuilder.create_dot

    def widened(each):
        if each.dtype.scalar != interpreter.tl.bfloat16:
            return each
        return interpreter.TensorHandle((each.data.astype(np.uint32) << 16).view(np.float32), interpreter.tl.float32)

    monkeypatch.setattr(
        interpreter.InterpreterBuilder,
        "create_dot",
        lambda self, a, b, *others: multiply(self, widened(a), widened(b), *others),
    )


def drawn(shape: tuple[int, ...], precision: str, rng: np.random.Generator) -> list[torch.Tensor]:
    return [torch.from_numpy(rng.standard_normal(shape)).to(DTYPES[precision]) for _ in range(3)]


def check(inputs: list[torch.Tensor], precision: str, *, multiprocessors: int) -> None:
    outputs = torch_triton.sccm_attention(*inputs, multiprocessors=multiprocessors)
    truths = reference.sccm_attention(*(each.double().numpy() for each in inputs))
    for actual, truth in zip(outputs, truths, strict=True):
        assert actual.dtype == inputs[0].dtype
        assert_parity(actual.double().numpy(), truth, op="sccm_attention", precision=precision)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(shape, precision, rng):
    check(drawn(shape, precision, rng), precision, multiprocessors=18)


@pytest.mark.parametrize("precision", DTYPES)
def test_logits_in_the_hundreds_keep_full_precision(precision, rng):
    """What PSCC-Net's features give: a float16 of such a logit would be off by an eighth, an exponential overflow."""
    theta, phi, g = drawn((1, 144, 136), precision, rng)
    logits = (6 * theta).double().mT @ (6 * phi).double()
    assert logits.max() > 500
    check([6 * theta, 6 * phi, g], precision, multiprocessors=1)


def test_arrays_need_not_be_dense(rng):
    wide = torch.from_numpy(rng.standard_normal((3, 2, 40, 9))).half()
    check([each.mT for each in wide], "fp16", multiprocessors=1)


def test_nothing_is_launched_where_there_is_nothing():
    for shape in ((0, 3, 4), (1, 0, 4), (1, 3, 0)):
        spatial, channel = torch_triton.sccm_attention(*[torch.ones(shape, dtype=torch.float16)] * 3)
        assert spatial.shape == channel.shape == (shape[0], shape[2], shape[1])
