"""A ``ZPool2D`` node as nodes of its plugins, for :mod:`kernels.tensorrt_nodes`."""

from __future__ import annotations

import onnx
from onnx import helper

from kernels import tensorrt_nodes
from kernels.zpool2d.tensorrt_plugin import MOMENTS, SCORES, check_windows


def plugins(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Moments, then scores. Raises ValueError where the node has windows that no kernel takes."""
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    check_windows(settings["windows"])
    x, min_std = node.input
    parts = f"{node.output[0]}/moments"
    moments = tensorrt_nodes.node(MOMENTS, [x], [parts], name=f"{node.name}/moments")
    scores = tensorrt_nodes.node(SCORES, [x, min_std, parts], node.output, name=node.name)
    scores.attribute.extend(attribute for attribute in node.attribute if attribute.name in {"windows", "magnitude"})
    return [moments, scores]
