"""ZPool2D in the native library, through each of its shells, against the reference."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch.fx.experimental.proxy_tensor import make_fx

from kernels.testing import assert_parity
from kernels.zpool2d import functional, lowering, reference, torch_op

Run = Callable[..., np.ndarray]
CASES = [
    ((1, 3, 1, 1), (7, 15, 31)),  # one pixel
    ((1, 3, 31, 31), (31,)),
    ((2, 3, 33, 47), (7, 15, 31)),
    ((1, 2, 5, 64), (1, 3, 63)),  # lower than a window
    ((2, 2, 70, 2), (7, 101, 2**31 - 1)),  # narrower than a window, and windows beyond all
    ((1, 1, 1, 5000), (15,)),
    ((3, 1, 9, 11), ()),  # the frame alone
    ((0, 3, 4, 4), (7,)),
    ((1, 2, 12, 13), (3, 5, 7, 9, 11, 13, 15, 17)),
]


def run_python(module: ModuleType, x: np.ndarray, floor: np.ndarray, windows: tuple[int, ...], **how: int | bool):
    out = np.full((x.shape[0], len(windows) + 1, *x.shape[1:]), 77, np.float32)
    module.zpool2d(x, floor, windows, **{"magnitude": True, "threads": 2, **how}, out=out)
    return out


def run_torch(module: ModuleType, x: np.ndarray, floor: np.ndarray, windows: tuple[int, ...], **how: bool):
    magnitude = how.get("magnitude", True)
    return torch.ops.forensics.zpool2d(
        torch.from_numpy(x), torch.from_numpy(floor), list(windows), magnitude=magnitude
    ).numpy()


def model(
    windows: tuple[int, ...], *, magnitude: bool = True, kind: int = TensorProto.FLOAT, floor_kind: int | None = None
) -> onnx.ModelProto:
    """One node of ours, with no body to fall back to, between casts from and to float32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow_x"], to=kind),
        helper.make_node("Cast", ["min_std"], ["narrow_min_std"], to=floor_kind or kind),
        helper.make_node(
            lowering.NAME,
            ["narrow_x", "narrow_min_std"],
            ["narrow_z"],
            domain=lowering.DOMAIN,
            magnitude=int(magnitude),
        ),
        helper.make_node("Cast", ["narrow_z"], ["z"], to=TensorProto.FLOAT),
    ]
    nodes[2].attribute.append(helper.make_attribute("windows", list(windows), attr_type=onnx.AttributeProto.INTS))
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", "H", "W"]),
        helper.make_tensor_value_info("min_std", TensorProto.FLOAT, ["C"]),
    ]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", "K", "C", "H", "W"])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)]
    return helper.make_model(helper.make_graph(nodes, "zpool2d", inputs, [z]), opset_imports=opsets, ir_version=10)


def session(content: onnx.ModelProto, library: str, *, threads: int = 2) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_onnxruntime(module: ModuleType, x: np.ndarray, floor: np.ndarray, windows: tuple[int, ...], **how: bool):
    content = model(windows, **{key: value for key, value in how.items() if key != "threads"})
    opened = session(content, module.__file__, threads=how.get("threads", 2))
    return opened.run(None, {"x": x, "min_std": floor})[0]


SHELLS: dict[str, Run] = {"python": run_python, "torch": run_torch, "onnxruntime": run_onnxruntime}


def expected(x: np.ndarray, floor: np.ndarray, windows: tuple[int, ...], *, magnitude: bool = True) -> np.ndarray:
    return reference.zpool2d(x.astype(np.float64), floor.astype(np.float64), windows, magnitude=magnitude)


@pytest.fixture(params=SHELLS)
def run(request: pytest.FixtureRequest, native: ModuleType) -> Run:
    """The operator, called through one of its shells."""
    shell = SHELLS[request.param]
    return lambda *inputs, **how: shell(native, *inputs, **how)


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize(("shape", "windows"), CASES, ids=str)
def test_matches_reference(run: Run, shape, windows, magnitude, rng):
    x = rng.normal(3, 1, shape).astype(np.float32)
    floor = rng.uniform(1e-3, 2, shape[1]).astype(np.float32)
    truth = expected(x, floor, windows, magnitude=magnitude)
    assert_parity(run(x, floor, windows, magnitude=magnitude), truth, op="zpool2d", precision="fp32")


def test_a_plane_that_is_not_finite_is_nan_and_spoils_no_other(run: Run, rng):
    x = rng.standard_normal((2, 4, 20, 21)).astype(np.float32)
    x[0, 1, 3, 4], x[1, 2, 0, 0], x[0, 3, 19, 20] = np.nan, np.inf, -np.inf
    floor = np.full(4, 1e-3, np.float32)
    with np.errstate(invalid="ignore"):
        truth = expected(x, floor, (7, 15))
    found = run(x, floor, (7, 15))
    spoilt = np.isnan(truth)
    assert spoilt[[0, 1, 0], :, [1, 2, 3]].all() and spoilt.sum() == 3 * 3 * 20 * 21
    np.testing.assert_array_equal(np.isnan(found), spoilt)
    assert_parity(found[~spoilt], truth[~spoilt], op="zpool2d", precision="fp32")


def test_large_offsets_and_scales_cost_no_digits(run: Run, rng):
    x = rng.standard_normal((1, 4, 64, 65)).astype(np.float32)
    x *= np.float32([1e-20, 1, 1e5, 1e18])[:, None, None]
    x += np.float32([0, 1e4, -1e9, 1e20])[:, None, None]
    floor = np.full(4, 1e-30, np.float32)
    assert_parity(run(x, floor, (7, 31)), expected(x, floor, (7, 31)), op="zpool2d", precision="fp32")


@pytest.mark.parametrize("shell", ["python", "onnxruntime"])
def test_threads_change_no_bit(native: ModuleType, shell, rng):
    x = rng.standard_normal((3, 5, 40, 41)).astype(np.float32)
    floor = np.full(5, 1e-3, np.float32)
    one, seven = (SHELLS[shell](native, x, floor, (7, 15), threads=threads) for threads in (1, 7))
    np.testing.assert_array_equal(one, seven)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 40), st.integers(1, 40)),
    windows=st.lists(st.integers(0, 45).map(lambda half: 2 * half + 1), max_size=4),
    seed=st.integers(0, 99),
)
def test_any_shape_and_any_windows(native: ModuleType, shape, windows, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    floor = np.full(shape[1], 0.1, np.float32)
    truth = expected(x, floor, tuple(windows), magnitude=False)
    assert_parity(run_python(native, x, floor, windows, magnitude=False), truth, op="zpool2d", precision="fp32")


FLOOR = np.ones(3, np.float32)
X = np.ones((1, 3, 4, 5), np.float32)
SKIPPING = np.ones((1, 3, 4, 10), np.float32)[..., ::2]
OUT = np.zeros((1, 2, 3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("error", "words", "changed"),
    [
        (TypeError, "x has elements of type 'd'\n  -> give float32", {"x": X.astype(np.float64)}),
        (TypeError, "min_std has elements of type 'e'", {"min_std": FLOOR.astype(np.float16)}),
        (TypeError, "out has elements of type 'i'", {"out": OUT.astype(np.int32)}),
        (ValueError, r"x is \[3, 4, 5\]\n  -> give \[any, any, any, any\]", {"x": X[0]}),
        (ValueError, r"min_std is \[2\]\n  -> give \[3\]", {"min_std": FLOOR[:2]}),
        (ValueError, r"out is \[1, 1, 3, 4, 5\]\n  -> give \[1, 2, 3, 4, 5\]", {"out": OUT[:, :1]}),
        (ValueError, "x is not dense in C order\n  -> numpy.ascontiguousarray", {"x": SKIPPING}),
        (ValueError, "x is not dense", {"x": np.asfortranarray(np.ones((1, 3, 4, 5), np.float32))}),
        (ValueError, "a window is 6 px\n  -> use odd sides", {"windows": [6]}),
        (ValueError, "a window is -7 px", {"windows": [-7]}),
        (ValueError, "there are 9 windows\n  -> give at most 8", {"windows": [7] * 9}),
        (ValueError, r"x is \[1, 3, 0, 5\]\n  -> give features", {"x": X[:, :, :0], "out": OUT[:, :, :, :0]}),
        (TypeError, "incompatible function arguments", {"x": [1.0]}),
    ],
    ids=lambda value: None if isinstance(value, dict | type) else value[:30],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(native: ModuleType, error, words, changed):
    arguments = {"x": X, "min_std": FLOOR, "windows": [7], "magnitude": True, "out": OUT.copy(), **changed}
    with pytest.raises(error, match=words):
        native.zpool2d(**arguments)


def test_a_result_that_may_not_be_written_is_refused(native: ModuleType):
    out = OUT.copy()
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match=r"not writable|read-only|writable"):
        native.zpool2d(X, FLOOR, [7], magnitude=True, out=out)


def test_other_threads_of_python_run_meanwhile(native: ModuleType, rng):
    x = rng.standard_normal((1, 8, 700, 700)).astype(np.float32)
    worker = threading.Thread(target=run_python, args=(native, x, np.ones(8, np.float32), (7, 15, 31)))
    worker.start()
    turns = 0
    while worker.is_alive():
        worker.join(1e-4)
        turns += 1
    assert turns > 10


def test_torch_counts_the_operator_as_its_own(native: ModuleType):
    x, floor = torch.randn(2, 3, 6, 7), torch.ones(3)
    torch.library.opcheck(torch.ops.forensics.zpool2d.default, (x, floor, [3, 5]), {"magnitude": True})


def test_what_records_operators_records_it_and_not_its_result(native: ModuleType):
    x, other = torch.randn(2, 1, 3, 6, 7)
    floor = torch.ones(3)
    recorded = make_fx(lambda features: functional.zpool2d(features, floor, (3,)))(x)
    assert torch.equal(recorded(other), functional.zpool2d(other, floor, (3,)))


def test_without_a_library_the_operator_of_torch_says_so(native: ModuleType, monkeypatch, tmp_path):
    monkeypatch.setattr(torch_op.library, "FOLDER", tmp_path / "none")
    torch_op.library.native.cache_clear()
    assert not torch_op.serves(torch.ones(1, 3, 4, 4), torch.ones(3), (3,))
    with pytest.raises(ValueError, match="forensics::zpool2d is not available: not built"):
        torch.ops.forensics.zpool2d(torch.ones(1, 3, 4, 4), torch.ones(3), [3], magnitude=True)


class TestOnnxRuntime:
    """What only ONNX Runtime asks of a shell."""

    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [
            (TensorProto.FLOAT16, np.float16),
            (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
            (TensorProto.DOUBLE, np.float64),
        ],
        ids=["float16", "bfloat16", "float64"],
    )
    def test_every_float_type_is_read_and_rounded_to_the_bit(self, native: ModuleType, kind, dtype, rng):
        # A plane of a and -a has the mean 0, and with a floor above a the scores are a and -a over the floor. Numbers
        # below 1 over 2^5 are subnormal in float16 from 2^-9 on; over 3 they have to be rounded.
        a = np.concatenate([2.0 ** -np.arange(30), rng.uniform(0, 1, 5000) * 2.0 ** -rng.integers(0, 24, 5000), [0]])
        a = a.astype(dtype).astype(np.float32)
        x = np.stack([a, -a], axis=1)[None, :, None, :]
        for floor in (1.0, 32.0, 3.0):
            opened = session(model((), magnitude=False, kind=kind), native.__file__)
            (found,) = opened.run(None, {"x": x, "min_std": np.full(len(a), floor, np.float32)})
            truth = (x * (1 / np.float64(floor))).astype(np.float32).astype(dtype).astype(np.float32)
            np.testing.assert_array_equal(found[:, 0], truth)

    @pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
    def test_a_floor_in_float32_goes_with_every_type(self, native: ModuleType, kind):
        opened = session(model((), magnitude=False, kind=kind, floor_kind=TensorProto.FLOAT), native.__file__)
        x, floor = np.float32([30000, -30000])[None, None, None], np.float32([1e5])  # infinite in float16
        (found,) = opened.run(None, {"x": x, "min_std": floor})
        np.testing.assert_allclose(found.ravel(), [0.3, -0.3], rtol=5e-3)

    def test_a_plane_that_float16_holds_as_infinities_is_nan(self, native: ModuleType):
        x = np.float32([60000, -60000])[None, None, None]
        opened = session(model((), magnitude=False, kind=TensorProto.FLOAT16), native.__file__)
        (found,) = opened.run(None, {"x": x / 2, "min_std": np.float32([0])})
        np.testing.assert_array_equal(found.ravel(), [1, -1])
        nan = opened.run(None, {"x": x * 2, "min_std": np.float32([0])})[0]
        assert np.isnan(nan).all()

    def test_is_taken_before_the_body_in_the_model(self, native: ModuleType, tmp_path: Path, rng):
        content = model((7, 15))
        content.functions.append(lowering.function(windows=[7, 15]))
        x, floor = rng.standard_normal((1, 3, 20, 30)).astype(np.float32), np.full(3, 1e-3, np.float32)
        kinds = {}
        for library in (None, native.__file__):
            options = onnxruntime.SessionOptions()
            options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
            if library:
                options.register_custom_ops_library(library)
            opened = onnxruntime.InferenceSession(content.SerializeToString(), options)
            assert_parity(
                opened.run(None, {"x": x, "min_std": floor})[0],
                expected(x, floor, (7, 15)),
                op="zpool2d",
                precision="fp32",
            )
            events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
            kinds[library] = {event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})}
        assert "AveragePool" in kinds[None] and "ZPool2D" not in kinds[None]
        assert "ZPool2D" in kinds[native.__file__] and "AveragePool" not in kinds[native.__file__]

    def test_sessions_come_and_go(self, native: ModuleType):
        for _ in range(3):
            opened = [session(model((7,)), native.__file__) for _ in range(3)]
            results = [one.run(None, {"x": X, "min_std": FLOOR})[0] for one in opened]
            assert all(np.array_equal(result, results[0]) for result in results)
            del opened

    def test_even_windows_are_refused_when_the_model_is_opened(self, native: ModuleType):
        with pytest.raises(Exception, match="ZPool2D: a window is 8 px"):
            session(model((8,)), native.__file__)

    def test_nine_windows_are_refused_when_the_model_is_opened(self, native: ModuleType):
        with pytest.raises(Exception, match="there are 9 windows"):
            session(model((7,) * 9), native.__file__)

    def test_a_floor_for_other_channels_is_refused(self, native: ModuleType):
        opened = session(model((7,)), native.__file__)
        with pytest.raises(Exception, match="their channels differ"):
            opened.run(None, {"x": X, "min_std": FLOOR[:2]})


def test_torch_takes_it_where_no_gradient_is_wanted(native: ModuleType, rng, monkeypatch):
    calls = []
    monkeypatch.setattr(native, "zpool2d", lambda *inputs, **how: calls.append(how))
    x, floor = torch.from_numpy(rng.standard_normal((1, 3, 8, 9))).float(), torch.ones(3)
    functional.zpool2d(x, floor, (3,))
    assert len(calls) == 1
    functional.zpool2d(x, floor, (3,) * 9)
    functional.zpool2d(x, floor.requires_grad_(), (3,))
    functional.zpool2d(x.double(), floor.detach().double(), (3,))
    assert len(calls) == 1
