"""The Triton kernels of SCCM attention: run by Triton's interpreter, compiled for Hopper, and with a GPU run on it.

The interpreter knows neither warps nor the order of memory accesses: it shows that tiles, masks, ranges and sums are
those of the reference. The compiler shows that every kernel that PSCC-Net needs is there in Hopper's own matrix
instructions, and spills nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.sccm_attention import reference
from kernels.testing import assert_parity
from tests.kernels.test_torch_cuda import DTYPES, drawn, wide

if importlib.util.find_spec("triton") is None:
    pytest.skip("no nvcc: Triton comes with it: pip install 'imdl-sdk[nvcc]'", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.sccm_attention import torch_triton

INTERPRETED = Path(__file__).with_name("triton_interpreted.py")
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
POINTERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
KERNELS = ("spatial", "merge", "channel_logits", "channel_softmax", "channel_product")
PRODUCTS = {"spatial", "channel_logits", "channel_product"}
PSCC_NET = [(1, 144, 1024), (1, 288, 1024), (1, 144, 4096), (1, 288, 4096)]
SHARED_LIMIT = 227 << 10
"""Bytes that a block may have on compute capability 9.0."""


def test_the_interpreter_finds_them_equal_to_the_reference():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INTERPRETED)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout


class Launched:
    """Stands for a kernel and keeps what it was to be launched with."""

    def __init__(self, kernel) -> None:
        self.kernel, self.arguments, self.options = kernel, (), {}

    def __getitem__(self, grid):
        def launch(*arguments, num_warps: int = 4, num_stages: int = 3, **constants) -> None:
            assert all(0 < side < 1 << 16 for side in grid[1:])
            self.arguments = dict(zip(self.kernel.arg_names, arguments, strict=False)) | constants
            self.options = {"num_warps": num_warps, "num_stages": num_stages}

        return launch

    def compiled(self):
        """As a launch would have it: numbers that are 1 are constants, and multiples of 16 are known as such."""
        signature, constants, multiples = {}, {}, {}
        for place, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            is_tensor = isinstance(value, torch.Tensor)
            if parameter.is_constexpr or (not is_tensor and value == 1):
                signature[parameter.name], constants[(place,)] = "constexpr", value
                continue
            signature[parameter.name] = POINTERS[value.dtype] if is_tensor else "i32"
            if is_tensor or value % 16 == 0:
                multiples[(place,)] = [["tt.divisibility", 16]]
        source = ASTSource(self.kernel, signature, constants, multiples)
        return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=self.options)


@pytest.fixture
def launched(monkeypatch):
    """Has the launcher launch nothing; answers with its kernels."""
    recorded = {name: Launched(getattr(torch_triton.kernels, name)) for name in KERNELS}
    for name, kernel in recorded.items():
        monkeypatch.setattr(torch_triton.kernels, name, kernel)
    monkeypatch.setattr(torch_triton, "reason_against", lambda theta: None)
    return recorded


@pytest.mark.parametrize(
    ("shape", "dtype"), [*((shape, torch.float16) for shape in PSCC_NET), (PSCC_NET[-1], torch.bfloat16)], ids=str
)
def test_compiled_for_hopper_they_multiply_in_its_own_instructions_and_spill_nothing(
    shape, dtype, launched, monkeypatch, tmp_path
):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    torch_triton.sccm_attention(*[torch.empty(shape, dtype=dtype)] * 3, multiprocessors=132)
    for name, kernel in launched.items():
        made = kernel.compiled()
        file = tmp_path / f"{name}.cubin"
        file.write_bytes(made.asm["cubin"])
        command = [str(CUOBJDUMP), "-sass", "-res-usage", str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert " STACK:0 " in told, name
        assert not re.search(r"\b(STL|LDL)\b", told), f"{name} spills"
        assert ("HGMMA" in told) == (name in PRODUCTS), name
        assert made.metadata.shared <= SHARED_LIMIT, name


@pytest.mark.parametrize("channels", [1, 192, 193, 256])
def test_any_number_of_channels_fits_into_shared_memory(channels, launched, monkeypatch, tmp_path):
    """With the one that fills a power of two and its half, and the next, of which the tail is padded most."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    torch_triton.sccm_attention(*[torch.empty((1, channels, 1024), dtype=torch.float16)] * 3, multiprocessors=132)
    assert launched["spatial"].compiled().metadata.shared <= SHARED_LIMIT


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (torch.ones(1, 3, 4), "dtype is torch.float32"),
        (torch.ones(1, 289, 4, dtype=torch.float16), "more than 288 channels"),
        (torch.ones(1, 3, 4, dtype=torch.float16), "it lies on cpu"),
        (torch.empty(8193, 3, 4, dtype=torch.float16, device="meta"), "more than 8192 items"),
        (torch.empty(1, 3, (1 << 23) + 1, dtype=torch.float16, device="meta"), "more than 8388608 positions"),
        (torch.empty(1, 256, 1 << 23, dtype=torch.float16, device="meta"), r"2\^31 numbers or more"),
    ],
    ids=["type", "channels", "place", "items", "positions", "size"],
)
def test_what_they_do_not_do_is_refused_with_a_reason_and_a_remedy(inputs, reason):
    with pytest.raises(ValueError, match=rf"no Triton kernel for this: .*{reason}.*\n  -> kernels\.sccm_attention"):
        torch_triton.sccm_attention(inputs, inputs, inputs)


def test_another_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    theta = torch.empty(1, 3, 4, dtype=torch.float16, device="meta")
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    assert torch_triton.reason_against(theta) == "the GPU is of compute capability 8.6"


def test_ranges_give_every_multiprocessor_a_block_and_none_too_few_keys():
    ranges = torch_triton.ranges
    assert ranges(1, 4096, queries=128, multiprocessors=132) == 4
    assert ranges(1, 1024, queries=128, multiprocessors=132) == 8
    assert ranges(8, 4096, queries=128, multiprocessors=132) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("shape", [*PSCC_NET, (2, 288, 1024), (1, 20, 300), (1, 161, 72)], ids=str)
def test_on_a_gpu_they_are_equal_to_the_reference(shape, precision, rng):
    inputs = [drawn(shape, precision, "cuda", rng) for _ in range(3)]
    reason = torch_triton.reason_against(inputs[0])
    if reason:
        pytest.skip(f"no NVIDIA GPU on this machine that the kernels are for: {reason}")
    assert inputs[0].dtype == DTYPES[precision]
    outputs = torch_triton.sccm_attention(*inputs)
    for actual, truth in zip(outputs, reference.sccm_attention(*map(wide, inputs)), strict=True):
        assert_parity(wide(actual), truth, op="sccm_attention", precision=precision)
    assert all(torch.equal(*pair) for pair in zip(outputs, torch_triton.sccm_attention(*inputs), strict=True))
