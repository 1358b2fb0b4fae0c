"""The named ONNX graphs of an artifact: each stage of a detector by itself, and the whole of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from export.freeze import doubled
from kernels.area_shrink import lowering as area_shrink
from kernels.sccm_attention import lowering as sccm_attention
from training.nn.detector import Detector
from training.nn.pixels import unit_range

OPSET = 18
IR_VERSION = 10
LOWERINGS = (area_shrink, sccm_attention)
DOMAIN = "forensics"
EXAMPLE_SIDES = (96, 88)
"""Height and width, px, of the frame with which graphs are traced; both stay dynamic."""


class Local(nn.Module):
    """pixels -> l0, l1: the tileable part, exact in its first convolution whatever the precision.

    Between graphs maps are ``[N, h, w, C]``, as CPUs' convolutions keep them and as tiles are put together fastest.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.net = doubled(detector.net)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The network's local maps."""
        levels = pixels.to(torch.int32).to(pixels.dtype)
        maps = self.net.local(unit_range(torch.cat([levels, pixels - levels], dim=-1), pixels.dtype))
        return [x.permute(0, 2, 3, 1) for x in maps]


class Rest(nn.Module):
    """l0, l1 -> score, f1 ... f4."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, *maps: Tensor) -> list[Tensor]:
        """Score, then the features that localisation may want."""
        logits, features = self.detector.net.rest([x.permute(0, 3, 1, 2) for x in maps])
        return [self.detector.score(logits), *features]


class Locate(nn.Module):
    """f1 ... f4, height, width -> heatmap."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, features: list[Tensor], height: Tensor, width: Tensor) -> Tensor:
        """Heatmap at the frame's own size."""
        rows, columns = height.item(), width.item()
        for side in (rows, columns):
            torch._check(side > 1)
        return self.detector.heatmap(self.detector.net.locate(features)[0], rows, columns)


def stages(detector: Detector) -> dict[str, onnx.ModelProto]:
    """``shrink``, ``local``, ``rest`` and ``locate``, operators of ours as bare nodes with their bodies attached."""
    frame = torch.zeros(2, *EXAMPLE_SIDES, 3)
    with torch.inference_mode():
        maps = detector.local(frame)
        _, features = detector.net.rest(maps)
        maps = [x.permute(0, 2, 3, 1) for x in maps]
    map_names = [f"l{index}" for index in range(len(maps))]
    feature_names = [f"f{index + 1}" for index in range(len(features))]
    batch, image = {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    sides = tuple(torch.tensor(side) for side in EXAMPLE_SIDES)
    local = _trace(Local(detector), (frame,), (image,), names=["pixels"], outputs=map_names)
    score_and_features = ["score", *feature_names]
    images = (tuple(image for _ in maps),)
    rest = _trace(Rest(detector), tuple(maps), images, names=map_names, outputs=score_and_features)
    batches = ([batch for _ in features], None, None)
    inputs = [*feature_names, "height", "width"]
    locate = _trace(Locate(detector), (features, *sides), batches, names=inputs, outputs=["heatmap"])
    _drop_unused_inputs(locate)
    _drop_outputs(rest, keep={"score", *(value.name for value in locate.graph.input)})
    return {"shrink": shrink(), "local": local, "rest": rest, "locate": locate}


def _trace(
    module: nn.Module, inputs: tuple[object, ...], dynamic: tuple[object, ...], *, names: list[str], outputs: list[str]
) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=names,
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
            optimize=True,
        )
    graph = program.model_proto.graph
    for node in graph.node:  # where each node came from in Python: kilobytes that help nobody at run time
        del node.metadata_props[:]
    del graph.value_info[:]
    return finished(graph)


def finished(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A model around ``graph`` with the bodies of our operators, and nothing else of where it came from."""
    functions = [lowering.function() for lowering in LOWERINGS if _uses(graph, lowering.NAME)]
    opsets = [helper.make_opsetid("", OPSET)]
    if functions:
        opsets.append(helper.make_opsetid(DOMAIN, 1))
    return helper.make_model(
        graph,
        opset_imports=opsets,
        functions=functions,
        ir_version=IR_VERSION,
        producer_name="imdl-sdk",
    )


def _uses(graph: onnx.GraphProto, operator: str) -> bool:
    return any(
        (node.op_type == operator and node.domain == DOMAIN)
        or any(_uses(attribute.g, operator) for attribute in node.attribute if attribute.HasField("g"))
        for node in graph.node
    )


def _drop_unused_inputs(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.input if value.name in used]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _drop_outputs(model: onnx.ModelProto, *, keep: set[str]) -> None:
    kept = [value for value in model.graph.output if value.name in keep]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _value(name: str, kind: int, shape: list[object]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


FRAME = _value("frame", TensorProto.UINT8, ["N", "H", "W", 3])
WORKING_SIZE = _value("working_size", TensorProto.INT64, [])


def shrink() -> onnx.ModelProto:
    """frame, working_size -> pixels, for a working size below the frame's long side."""
    node = helper.make_node(area_shrink.NAME, ["frame", "working_size"], ["pixels"], domain=DOMAIN)
    pixels = _value("pixels", TensorProto.FLOAT, ["N", "h", "w", 3])
    return finished(helper.make_graph([node], "shrink", [FRAME, WORKING_SIZE], [pixels]))


def whole(parts: Mapping[str, onnx.ModelProto]) -> onnx.ModelProto:
    """frame, working_size, min_score -> score, heatmap ``[M, H, W]``; M is 0 where no frame reached ``min_score``.

    The localisation head sits in an ``If`` and runs only where a frame of the batch needs it. The shrinking does not:
    it averages over single pixels where nothing is to be shrunk, because OpenVINO 2026.4 computes the first inference
    after an ``If`` in front of the network wrongly.
    """
    nodes, weights = [], []
    for name in ("local", "rest", "locate"):
        renamed = _prefixed(parts[name].graph, name)
        weights += renamed.initializer
        nodes.append(list(renamed.node))
    local, rest, locate = nodes
    constants, sides = _sides()
    pixels = helper.make_node(area_shrink.NAME, ["frame", "working_size"], ["pixels"], domain=DOMAIN)
    empty = [
        helper.make_node("Concat", ["none", "height_1", "width_1"], ["empty_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["empty_shape"], ["empty"]),
    ]
    heatmap = _either("is_localising", "heatmap", then=(locate, "locate/heatmap"), other=(empty, "empty"))
    body = [*sides, pixels, *local, *rest, *_reached(), heatmap]
    graph = helper.make_graph(
        body,
        "whole",
        [FRAME, WORKING_SIZE, _value("min_score", TensorProto.FLOAT, [])],
        [_value("score", TensorProto.FLOAT, ["N"]), _value("heatmap", TensorProto.FLOAT, ["M", "H", "W"])],
        [*constants, *weights],
    )
    return finished(graph)


def _sides() -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """Height and width of the frame, as scalars and as [1]."""
    constants = [
        helper.make_tensor(name, TensorProto.INT64, shape, [value])
        for name, shape, value in (("none", [1], 0), ("axis_1", [], 1), ("axis_2", [], 2))
    ]
    nodes = [
        helper.make_node("Shape", ["frame"], ["frame_shape"]),
        helper.make_node("Gather", ["frame_shape", "axis_1"], ["height"], axis=0),
        helper.make_node("Gather", ["frame_shape", "axis_2"], ["width"], axis=0),
        helper.make_node("Unsqueeze", ["height", "none"], ["height_1"]),
        helper.make_node("Unsqueeze", ["width", "none"], ["width_1"]),
    ]
    return constants, nodes


def _reached() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMax", ["score"], ["best_score"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["best_score", "min_score"], ["is_localising"]),
    ]


def _either(
    condition: str,
    output: str,
    *,
    then: tuple[list[onnx.NodeProto], str],
    other: tuple[list[onnx.NodeProto], str],
) -> onnx.NodeProto:
    branches = {}
    for side, (nodes, result) in (("then_branch", then), ("else_branch", other)):
        value = onnx.ValueInfoProto(name=result, type=helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        branches[side] = helper.make_graph(nodes, side, [], [value])
    return helper.make_node("If", [condition], [output], **branches)


SHARED = frozenset({"pixels", "score", "height", "width"})


def _prefixed(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A copy in which every value is named for its stage, but for those that stages hand to each other."""
    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    handed = {value.name for value in [*graph.input, *graph.output]} - {"heatmap"}
    rename = {name: name for name in handed} | {"": ""}
    for node in copy.node:
        node.name = f"{prefix}/{node.name}"
        for values in (node.input, node.output):
            values[:] = [rename.get(name, f"{prefix}/{name}") for name in values]
    for tensor in copy.initializer:
        tensor.name = f"{prefix}/{tensor.name}"
    return copy
