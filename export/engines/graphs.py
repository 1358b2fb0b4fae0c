"""The graphs that engines are built from: a frame goes in, score and heatmap come out, in one piece and without an If.

Between host and GPU nothing but the frame goes up and the answer comes down, so there is nothing to gain from stages.
``native`` takes the frame as it is, ``shrunk`` brings it down to a working size first; behind that they are the same.
"""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper, inliner
from torch import Tensor, nn

from export.graphs import DOMAIN, EXAMPLE_SIDES, FRAME, PIXELS, WORKING_SIZE, finished, trace
from kernels.area_shrink import lowering as area_shrink
from kernels.sccm_attention import lowering as sccm_attention
from kernels.zpool2d import lowering as zpool2d
from sdk.errors import BadSetting
from training.nn.detector import Detector

OUTPUTS = ["score", "heatmap"]
SIDES = {"height": 1, "width": 2}
"""Axes of the frame."""
PLUGINS = frozenset({sccm_attention.NAME, zpool2d.NAME})
"""Operators of ours that the library of plugins for TensorRT has."""


class FromPixels(nn.Module):
    """pixels, height, width -> score, heatmap."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``[N]`` and heatmap ``[N, height, width]`` of float pixels ``[N, h, w, 3]`` in 0..255."""
        rows, columns = height.item(), width.item()
        for side in (rows, columns):
            torch._check(side > 1)
        logits, features = self.detector.net.rest(self.detector.local(pixels))
        mask = self.detector.net.locate(features)[0]
        return self.detector.score(logits), self.detector.heatmap(mask, rows, columns)


def engine_graphs(detector: Detector) -> dict[str, onnx.ModelProto]:
    """``native`` (frame) and ``shrunk`` (frame, working_size), in the precision of the detector's parameters.

    Operators of ours are bare nodes with their bodies attached; score and heatmap are float32 in every precision.
    """
    frame = torch.zeros(2, *EXAMPLE_SIDES, 3)
    sides = tuple(torch.tensor(side) for side in EXAMPLE_SIDES)
    names = ["pixels", "height", "width"]
    traced = trace(FromPixels(detector), (frame, *sides), (PIXELS, None, None), names=names, outputs=OUTPUTS)
    cast = helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.FLOAT)
    shrink = helper.make_node(area_shrink.NAME, ["frame", "working_size"], ["pixels"], domain=DOMAIN)
    return {
        "native": _behind(traced, [cast], [FRAME], name="native"),
        "shrunk": _behind(traced, [shrink], [FRAME, WORKING_SIZE], name="shrunk"),
    }


def with_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with bare nodes where there is a plugin for an operator of ours, and all others as their bodies.

    What parses it has the plugins, or says that it does not: no body is left to be taken instead. Raises
    :class:`sdk.errors.BadSetting` where it has no such operator.
    """
    if not any(node.op_type in PLUGINS for node in model.graph.node):
        raise BadSetting("the model has no operator that there is a plugin for", remedy="leave out --plugins")
    others = [(function.domain, function.name) for function in model.functions if function.name not in PLUGINS]
    inlined = inliner.inline_selected_functions(model, others)
    del inlined.functions[:]
    return inlined


def _behind(
    traced: onnx.ModelProto, front: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], *, name: str
) -> onnx.ModelProto:
    """``traced`` with the nodes in front that make its pixels, its height and its width from the frame."""
    constants = [helper.make_tensor(f"{side}_axis", TensorProto.INT64, [], [axis]) for side, axis in SIDES.items()]
    sides = [helper.make_node("Gather", ["frame_shape", f"{side}_axis"], [side], axis=0) for side in SIDES]
    nodes = [helper.make_node("Shape", ["frame"], ["frame_shape"]), *sides, *front, *traced.graph.node]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, ["N", "H", "W"]),
    ]
    weights = [*constants, *traced.graph.initializer]
    return finished(helper.make_graph(nodes, name, inputs, outputs, weights))
