"""The named ONNX graphs of an artifact: each stage of a detector by itself, and the whole of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from export.enlarging import enlarged
from export.freeze import doubled
from kernels.area_shrink import lowering as area_shrink
from kernels.sccm_attention import lowering as sccm_attention
from kernels.zpool2d import lowering as zpool2d
from training.nn.detector import Detector

OPSET = 18
IR_VERSION = 10
LOWERINGS = (area_shrink, sccm_attention, zpool2d)
DOMAIN = "forensics"
EXAMPLE_SIDES = (96, 88)
"""Height and width, px, of the frame with which graphs are traced; both stay dynamic."""


PIXELS = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
"""Axes of pixels and maps that vary."""


def channels_last(x: Tensor) -> Tensor:
    """``[N, C, h, w]`` to ``[N, h, w, C]``."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """``[N, h, w, C]`` to ``[N, C, h, w]``."""
    return x.permute(0, 3, 1, 2)


def in_passes(detector: Detector) -> bool:
    """Whether the network can be run in two passes (:mod:`sdk.passes`)."""
    return hasattr(detector.net, "answer")


def is_dense(detector: Detector) -> bool:
    """Whether the features that localisation wants are as large as the pixels, and not sampled on fixed grids."""
    return not hasattr(detector.net, "grids")


class Local(nn.Module):
    """pixels -> l0, l1: the tileable part, exact in its first convolution whatever the precision.

    Between graphs maps are ``[N, h, w, C]``, as CPUs' convolutions keep them and as tiles are put together fastest.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.net = doubled(detector.net)
        self.prepared = detector.prepared

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The network's local maps."""
        levels = pixels.to(torch.int32).to(pixels.dtype)
        maps = self.net.local(self.prepared(torch.cat([levels, pixels - levels], dim=-1)))
        return [channels_last(x) for x in maps]


class First(nn.Module):
    """pixels -> r0: a high-pass first layer, for graphs that are run in f32 whatever the precision."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> Tensor:
        """The first layer's residuals."""
        return channels_last(self.detector.net.extractor.residuals(self.detector.prepared(pixels)))


class FromFirst(nn.Module):
    """r0 -> l0: what :class:`Local` is after :class:`First`."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.net = detector.net

    def forward(self, residuals: Tensor) -> Tensor:
        """The network's local map."""
        return channels_last(self.net.project(self.net.extractor.traces(channels_first(residuals))))


class Rest(nn.Module):
    """l0, l1 -> score, f1 ... f4."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, *maps: Tensor) -> list[Tensor]:
        """Score, then the features that localisation may want."""
        logits, features = self.detector.net.rest([channels_first(x) for x in maps])
        if is_dense(self.detector):
            features = [channels_last(x) for x in features]
        return [self.detector.score(logits), *features]


class Answer(nn.Module):
    """l0, mean, variance -> f1: a tile of a frame with those moments."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.net = detector.net

    def forward(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Mask logits of the tile."""
        return channels_last(self.net.answer([channels_first(x)], mean, variance))


class Conclude(nn.Module):
    """f1 -> score."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, mask: Tensor) -> Tensor:
        """Score of the whole frame."""
        return self.detector.score(self.detector.net.conclude(channels_first(mask)))


class Locate(nn.Module):
    """f1 ... f4, height, width -> heatmap."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, features: list[Tensor], height: Tensor, width: Tensor) -> Tensor:
        """Heatmap at the frame's own size."""
        if is_dense(self.detector):
            features = [channels_first(x) for x in features]
        mask = self.detector.net.locate(features)[0]
        return enlarged(torch.sigmoid(mask[:, 0].float()), height, width)


def stages(detector: Detector) -> dict[str, onnx.ModelProto]:
    """``shrink``, ``local``, ``rest`` and ``locate``, operators of ours as bare nodes with their bodies attached.

    Networks that can be run in two passes (:mod:`sdk.passes`) also have ``first``, ``answer`` and ``conclude``.
    """
    frame = torch.zeros(2, *EXAMPLE_SIDES, 3)
    with torch.inference_mode():
        maps = detector.local(frame)
        _, features = detector.net.rest(maps)
        maps = [channels_last(x) for x in maps]
        if is_dense(detector):
            features = [channels_last(x) for x in features]
    map_names = [f"l{index}" for index in range(len(maps))]
    feature_names = [f"f{index + 1}" for index in range(len(features))]
    batch = {0: Dim.DYNAMIC}
    sides = tuple(torch.tensor(side) for side in EXAMPLE_SIDES)
    local = _passes(detector, frame, maps) if in_passes(detector) else {"local": _local(detector, frame, map_names)}
    score_and_features = ["score", *feature_names]
    images = (tuple(PIXELS for _ in maps),)
    rest = trace(Rest(detector), tuple(maps), images, names=map_names, outputs=score_and_features)
    batches = ([PIXELS if is_dense(detector) else batch for _ in features], None, None)
    inputs = [*feature_names, "height", "width"]
    locate = trace(Locate(detector), (features, *sides), batches, names=inputs, outputs=["heatmap"])
    _drop_unused_inputs(locate)
    _drop_outputs(rest, keep={"score", *(value.name for value in locate.graph.input)})
    return {"shrink": shrink(), **local, "rest": rest, "locate": locate}


def _local(detector: Detector, frame: Tensor, names: list[str]) -> onnx.ModelProto:
    return trace(Local(detector), (frame,), (PIXELS,), names=["pixels"], outputs=names)


def _passes(detector: Detector, frame: Tensor, maps: list[Tensor]) -> dict[str, onnx.ModelProto]:
    """``first`` and ``local``, which make the map; ``answer`` on tiles of it; ``conclude`` from all answers."""
    net = detector.net
    with torch.inference_mode():
        residuals = First(detector)(frame)
        moments = net.moments([channels_first(x) for x in maps])
        mask = Answer(detector)(*maps, *moments)
    batch = {0: Dim.DYNAMIC}
    names = ["l0", "mean", "variance"]
    return {
        "first": trace(First(detector), (frame,), (PIXELS,), names=["pixels"], outputs=["r0"]),
        "local": trace(FromFirst(detector), (residuals,), (PIXELS,), names=["r0"], outputs=["l0"]),
        "answer": trace(Answer(detector), (*maps, *moments), (PIXELS, batch, batch), names=names, outputs=["f1"]),
        "conclude": trace(Conclude(detector), (mask,), (PIXELS,), names=["f1"], outputs=["score"]),
    }


def trace(
    module: nn.Module, inputs: tuple[object, ...], dynamic: tuple[object, ...], *, names: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """The ONNX graph of ``module``, traced with ``inputs``, of which the ``dynamic`` axes vary."""
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
    functions = [
        lowering.function(**settings[0]) for lowering in LOWERINGS if (settings := _settings(graph, lowering.NAME))
    ]
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


def _settings(graph: onnx.GraphProto, operator: str) -> list[dict[str, object]]:
    """Attributes of every node of ours with that name, branches included."""
    found = []
    for node in graph.node:
        if node.op_type == operator and node.domain == DOMAIN:
            attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            found.append(attributes)
        for attribute in node.attribute:
            found += _settings(attribute.g, operator) if attribute.HasField("g") else []
    return found


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
    nodes, weights = {}, []
    for name in ("first", "local", "rest", "locate"):
        renamed = _prefixed(parts[name].graph, name) if name in parts else onnx.GraphProto()
        weights += renamed.initializer
        nodes[name] = list(renamed.node)
    constants, sides = _sides()
    pixels = helper.make_node(area_shrink.NAME, ["frame", "working_size"], ["pixels"], domain=DOMAIN)
    empty = [
        helper.make_node("Concat", ["none", "height_1", "width_1"], ["empty_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["empty_shape"], ["empty"]),
    ]
    heatmap = _either("is_localising", "heatmap", then=(nodes["locate"], "locate/heatmap"), other=(empty, "empty"))
    body = [*sides, pixels, *nodes["first"], *nodes["local"], *nodes["rest"], *_reached(), heatmap]
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
