"""Packages of AOTInductor call our operators: ZPool2D on the CPU for real, both where torch sees a GPU, or has one.

A small ManTra-Net, compiled with our operator and without, for any size.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import sdk
from export import parity
from export.engines import gate
from export.targets import aotinductor as target
from kernels import cuda_library, library, torch_nodes
from kernels.sccm_attention import functional as sccm
from kernels.sccm_attention import reference as sccm_reference
from kernels.sccm_attention import torch_cuda as sccm_on_gpu
from kernels.sccm_attention import torch_op as sccm_op
from kernels.testing import assert_parity
from kernels.zpool2d import functional as zpool
from kernels.zpool2d import reference as zpool_reference
from kernels.zpool2d import torch_cuda as zpool_on_gpu
from sdk import artifact
from sdk.contract import ParityRow
from sdk.engines import aoti_operators
from sdk.engines.aoti_backend import Kind
from sdk.engines.aoti_run import Package
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.errors import BadSetting, DeviceUnavailable
from tests.export import tiny
from tests.sdk import toy

PROFILE = Profile(smallest=(32, 32), usual=(48, 64), largest=(96, 128), working_size=0)
QUICK = {"aot_inductor.compile_wrapper_opt_level": "O0"}
"""The wrapper is compiled once and run a few times."""
SAME = ParityRow(case="", backend="", precision="f32", size=(1, 1), max_abs_heatmap=0.0, max_abs_score=0.0, budget=1e-4)


@pytest.fixture(scope="module")
def native(native_file: Path) -> Iterator[ModuleType]:
    """The native library where the SDK finds it, for as long as the package is used that was compiled for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "FOLDER", native_file.parent)
        library.native.cache_clear()
        aoti_operators.loaded.cache_clear()
        module = library.native()
        assert module is not None
        yield module
    library.native.cache_clear()
    aoti_operators.loaded.cache_clear()


def compiled(*, plugins: bool) -> bytes:
    operators = Kind(plugins=plugins).operators("cpu")
    settings = {"device": "cpu", "precision": "f32", "profile": PROFILE, "operators": operators, "options": QUICK}
    return target.compiled(tiny.mantranet(), **settings)


@pytest.fixture(scope="module")
def packages(native) -> dict[bool, bytes]:
    """Without our operators, and with them."""
    return {plugins: compiled(plugins=plugins) for plugins in (False, True)}


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """The toy artifact, which stands for the small ManTra-Net here, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(target, "thaw", lambda artifact: tiny.mantranet())
    monkeypatch.setattr(gate, "thawed_row", lambda *_: SAME)
    return artifact.read(toy.build(tmp_path / "toy", working_size=64))


@pytest.fixture
def exported(loaded, packages, photographs, monkeypatch):
    """Both through the target, gate included, with what is compiled already."""
    monkeypatch.setattr(target, "compiled", lambda *_, operators, **__: packages[operators is not None])
    settings = {"device": "cpu", "precision": "f32", "profile": PROFILE, "photographs": photographs}
    return {plugins: target.export(loaded, plugins=plugins, **settings) for plugins in packages}


@pytest.mark.slow
def test_the_sdk_runs_the_operator_of_our_library_and_the_answer_is_the_same(
    loaded, exported, native, monkeypatch, rng
):
    called, zpool2d = [], native.zpool2d

    def counted(x, *rest, **how):
        called.append(x.shape)
        zpool2d(x, *rest, **how)

    monkeypatch.setattr(native, "zpool2d", counted)
    with (
        sdk.load(loaded.path, backend="aotinductor", device="cpu", working_size=0) as plain,
        sdk.load(loaded.path, backend="aotinductor_plugins", device="cpu", working_size=0) as ours,
    ):
        for height, width in ((50, 70), (96, 128), (45, 33)):
            frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            expected = plain.analyze(frame)
            assert called == []
            found = ours.analyze(frame)
            assert called == [(1, 4, -(-height // 8), -(-width // 8))]  # the map of mantranet-lite
            called.clear()
            np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=parity.BUDGET)
            assert found.score == pytest.approx(expected.score, abs=parity.BUDGET)
            assert found.runtime.backend == "aotinductor_plugins"


@pytest.mark.slow
def test_the_gate_is_passed_and_what_is_kept_names_the_library(exported, native):
    (plain, _), (entry, rows) = exported[False], exported[True]
    assert not parity.over_budget(rows)
    assert {row.backend for row in rows[1:]} == {"aotinductor_plugins"}
    file = Path(native.__file__)
    assert (entry.key.plugins, entry.facts["plugins"]) == (artifact.digest(file), file.name)
    assert (plain.key.plugins, plain.plugins) == ("", "")
    assert len(Cache().entries()) == 2


@pytest.mark.slow
def test_a_package_whose_operator_nobody_registered_is_refused_in_words(packages, tmp_path):
    """In another process: in this one torch knows the operator."""
    file = tmp_path / "package"
    file.write_bytes(packages[True])
    program = f"""
from pathlib import Path
from sdk.engines.aoti_run import Package
from sdk.errors import DeviceUnavailable
try:
    Package(Path({str(file)!r}).read_bytes(), device="cpu")
except DeviceUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cannot load a package" in done.stdout
    assert "forensics::zpool2d" in done.stdout


def test_a_model_with_nothing_for_the_library_is_refused_before_it_is_compiled(native):
    """As is PSCC-Net on the CPU, where its attention has no operator of ours."""
    operators = Kind(plugins=True).operators("cpu")
    settings = {"device": "cpu", "precision": "f32", "profile": PROFILE, "operators": operators}
    with pytest.raises(BadSetting, match=r"no operator of the model is in _native\..*\n  -> leave out --plugins"):
        target.compiled(tiny.detector(), **settings)


def test_another_precision_than_that_of_the_operators_is_refused(loaded, native):
    settings = {"device": "cpu", "precision": "bf16", "profile": PROFILE, "photographs": []}
    with pytest.raises(BadSetting, match="operators of ours for cpu are not in bf16"):
        target.export(loaded, plugins=True, **settings)


@pytest.mark.parametrize(
    ("device", "module", "how"), [("cpu", library, "make native"), ("cuda", cuda_library, "python -m kernels cuda")]
)
def test_without_the_library_nothing_is_compiled_and_what_builds_it_is_said(
    loaded, tmp_path, monkeypatch, device, module, how
):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "path", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a device that torch lacks is refused before
    monkeypatch.setattr(aoti_operators, "loaded", aoti_operators.loaded.__wrapped__)  # as if this were the first time
    settings = {"device": device, "precision": "f32", "profile": PROFILE, "photographs": []}
    words = rf'for {device}: not built: {how} builds it in a checkout\n  -> build it; backend="aotinductor" needs none'
    with pytest.raises(DeviceUnavailable, match=words):
        target.export(loaded, plugins=True, **settings)


class Both(nn.Module):
    """Both operators of ours."""

    def forward(self, x: Tensor, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[N, C, H, W]`` and ``[C]`` to Z-scores and to what attention makes of ``x`` with itself."""
        flat = x.flatten(2)
        return zpool.zpool2d(x, floor, (3, 5)), *sccm.sccm_attention(flat, flat.neg(), flat)


def exported_program(x: Tensor, floor: Tensor) -> torch.export.ExportedProgram:
    with torch.inference_mode():
        return torch.export.export(Both(), (x, floor), strict=False)


def called_by(x: Tensor, floor: Tensor) -> list[str]:
    """Operators of ours in what torch exports."""
    nodes = exported_program(x, floor).graph.nodes
    return [str(node.target) for node in nodes if str(node.target).startswith("forensics.")]


def require_both(x: Tensor, floor: Tensor, file: Path, *, precision: str) -> None:
    """Compile what calls both operators, and judge all that it answers by their references."""
    with warnings.catch_warnings(), torch.inference_mode(), torch_nodes.called():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        program = exported_program(x, floor)
        torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=QUICK)
        found = torch._inductor.aoti_load_package(str(file), run_single_threaded=True)(x, floor)
    z, spatial, channel = (each.double().cpu().numpy() for each in found)
    wide = x.double().cpu().numpy()
    flat = wide.reshape(*wide.shape[:2], -1)
    expected = zpool_reference.zpool2d(wide, floor.double().cpu().numpy(), (3, 5))
    assert_parity(z, expected, op="zpool2d", precision=precision)
    for product, truth in zip((spatial, channel), sccm_reference.sccm_attention(flat, -flat, flat), strict=True):
        assert_parity(product, truth, op="sccm_attention", precision=precision)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_on_a_gpu_both_operators_are_called_where_that_is_asked_for(dtype, monkeypatch):
    """A GPU that torch is told of: nothing is computed, and only what needs no GPU can be traced."""
    monkeypatch.setattr(cuda_library, "offered", lambda: {"zpool2d": "", "sccm_attention": ""})
    with FakeTensorMode():
        inputs = torch.ones(1, 4, 8, 8, device="cuda", dtype=dtype), torch.ones(4, device="cuda", dtype=dtype)
    with torch_nodes.called():
        assert called_by(*inputs) == ["forensics.zpool2d.default", "forensics.sccm_attention.default"]


@pytest.mark.slow
def test_a_package_gets_both_products_of_attention(native, tmp_path, monkeypatch, rng):
    """From a kernel for the CPU, which stands for that of a GPU: torch's own products under the operator's name."""
    called = []

    def standing_in(theta: Tensor, phi: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        called.append(theta.shape)
        return sccm.sccm_attention(theta, phi, g)

    monkeypatch.setattr(sccm_op, "serves", lambda *_: torch_nodes.are_called())
    fragment = torch.library.Library("forensics", "FRAGMENT")
    try:
        torch.library.register_kernel(sccm_op.NAME, "cpu", standing_in, lib=fragment)
        x = torch.from_numpy(rng.standard_normal((2, 6, 8, 8)).astype(np.float32))
        require_both(x, torch.full((6,), 0.1), tmp_path / "both.pt2", precision="fp32")
    finally:
        fragment._destroy()
    assert called == [(2, 6, 64)]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Iterator[None]:
    """The library of CUDA kernels, built for the GPU that is here, where the SDK finds it."""
    major, minor = torch.cuda.get_device_capability()
    file = cuda_library.build(tmp_path_factory.mktemp("cuda") / cuda_library.NAME, (10 * major + minor,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_library, "FOLDER", file.parent)
        for ask in (cuda_library.cuda, aoti_operators.loaded):
            ask.cache_clear()
        yield
    for ask in (cuda_library.cuda, aoti_operators.loaded):
        ask.cache_clear()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu_a_package_calls_both_kernels(kernels, tmp_path, monkeypatch, rng, precision):
    called = []
    for shell, name in ((zpool_on_gpu, "zpool2d"), (sccm_on_gpu, "sccm_attention")):
        work = getattr(shell, name)
        monkeypatch.setattr(shell, name, lambda *of, work=work, **how: called.append(work) or work(*of, **how))
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    x = torch.from_numpy(rng.standard_normal((2, 6, 8, 8))).to("cuda", dtype)
    floor = torch.full((6,), 0.125, device="cuda", dtype=dtype)
    require_both(x, floor, tmp_path / "both.pt2", precision=precision)
    assert len(called) == 2


@pytest.mark.gpu
def test_on_a_gpu_the_kernels_are_captured_with_the_rest_of_a_package(kernels, photographs):
    """The first frame as it comes, the next ones as a captured graph."""
    operators = Kind(plugins=True).operators("cuda")
    content = target.compiled(
        tiny.mantranet(), device="cuda", precision="f32", profile=Profile.only(96, 128), operators=operators
    )
    engine = Package(content, device="cuda", operators=operators)
    for frame in parity.frames(photographs, 4 * [(96, 128)]):
        with torch.inference_mode():
            heatmap, score = tiny.mantranet()(torch.from_numpy(frame)[None], 0)
        found = engine.start({"frame": frame[None]}).result()
        np.testing.assert_allclose(found["heatmap"], heatmap.numpy(), atol=parity.BUDGET)
        np.testing.assert_allclose(found["score"], score.numpy(), atol=parity.BUDGET)
    (slot,) = engine._idle
    assert all(slot._graphs.values())
    assert len(slot._graphs) == 1


def test_on_the_cpu_zpool2d_alone_is_called_and_in_float32(native):
    x, floor = torch.ones(1, 4, 8, 8), torch.ones(4)
    assert called_by(x, floor) == []
    with torch_nodes.called():
        assert called_by(x, floor) == ["forensics.zpool2d.default"]
        assert called_by(x.half(), floor.half()) == []
