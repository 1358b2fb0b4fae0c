"""An artifact of the same graphs, names and plan as a real one, with a few tiny convolutions instead of a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sdk import contract
from sdk.artifact import digest
from sdk.contract import Contract, Graph, Step, Tensor, Thresholds, Tiling

DTYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
TILING = Tiling(halo=2, align=2, height=32, width=48, strides={"l0": 1, "l1": 2})

FRAME = Tensor(name="frame", dtype="uint8", shape=("N", "H", "W", 3), meaning="RGB")
PIXELS = Tensor(name="pixels", dtype="float32", shape=("N", "h", "w", 3), meaning="RGB, 0..255")
SCORE = Tensor(name="score", dtype="float32", shape=("N",), meaning="brightness, 0..1")
HEATMAP = Tensor(name="heatmap", dtype="float32", shape=("N", "H", "W"), meaning="0..1")
L0 = Tensor(name="l0", dtype="float32", shape=("N", "h", "w", 3), meaning="")
L1 = Tensor(name="l1", dtype="float32", shape=("N", "h/2", "w/2", 5), meaning="")
MAPS = tuple(Tensor(name=f"f{i}", dtype="float32", shape=("N", 1, f"h{i}", f"w{i}"), meaning="") for i in range(1, 5))
SIZE, HEIGHT, WIDTH = (
    Tensor(name=name, dtype="int64", shape=(), meaning="px") for name in ("working_size", "height", "width")
)

GRAPHS = {
    "shrink": Graph(file="shrink.onnx", inputs=(FRAME, SIZE), outputs=(PIXELS,)),
    "local": Graph(file="local.onnx", inputs=(PIXELS,), outputs=(L0, L1)),
    "rest": Graph(file="rest.onnx", inputs=(L0, L1), outputs=(SCORE, *MAPS)),
    "locate": Graph(file="locate.onnx", inputs=(*MAPS, HEIGHT, WIDTH), outputs=(HEATMAP,)),
}
PLAN = (
    Step(graph="shrink", when="shrinking"),
    Step(graph="local", tiling=TILING),
    Step(graph="rest"),
    Step(graph="locate", when="localising"),
)
TERMS = Contract(
    name="toy",
    version="0.1",
    model="toy",
    settings={"width": 3},
    status="preview",
    graphs=GRAPHS,
    plan=PLAN,
    working_size=0,
    thresholds={size: Thresholds(photographs={"0.01": 0.8, "0.05": 0.6}) for size in ("0", "64")},
    mask_threshold=0.5,
    minimum_side=64,
    precisions=("f32",),
    licence="Apache-2.0",
    commercial_use=True,
    training_data="none",
    citation="none",
    commit="none",
    sha256={},
)


def build(folder: Path, **changes: object) -> Path:
    """Write the artifact to ``folder``; ``changes`` replace fields of its contract."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for name, nodes in {"shrink": _shrink, "local": _local, "rest": _rest, "locate": _locate}.items():
        _save(name, nodes(), _weights(rng) if name == "local" else [], folder)
    terms = dataclasses.replace(TERMS, **changes)
    seal(folder, terms)
    return folder


def seal(folder: Path, terms: Contract) -> None:
    """Write the contract with the digests of the files that are there."""
    files = sorted(path for path in folder.iterdir() if path.name != contract.FILE)
    terms = dataclasses.replace(terms, sha256={path.name: digest(path) for path in files})
    (folder / contract.FILE).write_text(terms.to_json())


def _save(name: str, nodes: list, weights: list, folder: Path) -> None:
    described = GRAPHS[name]
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, DTYPES[t.dtype], list(t.shape)) for t in tensors]
        for tensors in (described.inputs, described.outputs)
    )
    constants = {"c255": np.float32(255), "c1": np.int64(1), "axes0": np.array([0]), "axes1": np.array([1])}
    used = {name for node in nodes for name in node.input}
    weights = weights + [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    external = (
        {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 64} if name == "local" else {}
    )
    onnx.save_model(model, folder / described.file, **external)


def _weights(rng: np.random.Generator) -> list:
    def positive(*shape: int) -> np.ndarray:  # sums to 1 per output, so that brightness passes through
        values = rng.uniform(0.2, 1, shape).astype(np.float32)
        return values / values.sum((1, 2, 3), keepdims=True)

    shapes = {"w0": (4, 3, 3, 3), "w1": (3, 4, 3, 3), "w2": (5, 3, 3, 3)}
    return [numpy_helper.from_array(positive(*shape), name) for name, shape in shapes.items()]


def _shrink() -> list:
    node = helper.make_node
    return [
        node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        node("Transpose", ["f"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Shape", ["frame"], ["nc"], start=0, end=1),
        node("Shape", ["frame"], ["hw"], start=1, end=3),
        node("Shape", ["nchw"], ["c"], start=1, end=2),
        node("ReduceMax", ["hw"], ["long"], keepdims=0),
        node("Mul", ["hw", "working_size"], ["scaled"]),
        node("Div", ["scaled", "long"], ["small"]),
        node("Max", ["small", "c1"], ["size"]),
        node("Concat", ["nc", "c", "size"], ["sizes"], axis=0),
        node("Resize", ["nchw", "", "", "sizes"], ["small_nchw"], mode="nearest"),
        node("Transpose", ["small_nchw"], ["pixels"], perm=[0, 2, 3, 1]),
    ]


def _local() -> list:
    node = helper.make_node
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return [
        node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Div", ["nchw", "c255"], ["unit"]),
        node("Conv", ["unit", "w0"], ["a"], **same),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w1"], ["c"], **same),
        node("Conv", ["unit", "w2"], ["d"], strides=[2, 2], **same),
        node("Transpose", ["c"], ["l0"], perm=[0, 2, 3, 1]),
        node("Transpose", ["d"], ["l1"], perm=[0, 2, 3, 1]),
    ]


def _rest() -> list:
    node = helper.make_node
    maps = [
        node("Transpose", ["l0"], ["c"], perm=[0, 3, 1, 2]),
        node("Transpose", ["l1"], ["d"], perm=[0, 3, 1, 2]),
    ]
    maps += [
        node("ReduceMean", ["c" if i < 3 else "d", "axes1"], [f"f{i}"], keepdims=1) for i in range(1, 5)
    ]  # fmt: skip
    return [*maps, node("GlobalAveragePool", ["f1"], ["g"]), node("Flatten", ["g"], ["flat"], axis=1),
            node("Squeeze", ["flat", "axes1"], ["score"])]  # fmt: skip


def _locate() -> list:
    node = helper.make_node
    return [
        node("Shape", ["f1"], ["nc"], start=0, end=2),
        node("Unsqueeze", ["height", "axes0"], ["h"]),
        node("Unsqueeze", ["width", "axes0"], ["w"]),
        node("Concat", ["nc", "h", "w"], ["sizes"], axis=0),
        node("Resize", ["f1", "", "", "sizes"], ["big"], mode="linear"),
        node("Squeeze", ["big", "axes1"], ["heatmap"]),
    ]
