"""``ZPool2D`` nodes of an ONNX graph as nodes that TensorRT's parser takes for our plugins."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

from kernels.zpool2d.lowering import DOMAIN, NAME
from kernels.zpool2d.tensorrt_plugin import MOMENTS, NAMESPACE, SCORES, check_windows

VERSION = "1"
"""Of both plugins: all that TensorRT registers from Python have it."""


def in_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with two nodes for each ``ZPool2D``, and without the operator's body; weights are shared.

    The parser looks plugins up by the node's type and the attributes ``plugin_namespace`` and ``plugin_version``, not
    by its domain. Raises ValueError where a node has windows that no kernel takes.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [made for node in copy.graph.node for made in _replaced(node)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    others = [function for function in copy.functions if (function.domain, function.name) != (DOMAIN, NAME)]
    del copy.functions[:]
    copy.functions.extend(others)
    return copy


def _replaced(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    if (node.domain, node.op_type) != (DOMAIN, NAME):
        yield node
        return
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    check_windows(settings["windows"])
    x, min_std = node.input
    parts = f"{node.output[0]}/moments"
    where = {"domain": DOMAIN, "plugin_namespace": NAMESPACE, "plugin_version": VERSION}
    yield helper.make_node(MOMENTS, [x], [parts], name=f"{node.name}/moments", **where)
    scores = helper.make_node(SCORES, [x, min_std, parts], list(node.output), name=node.name, **where)
    scores.attribute.extend(attribute for attribute in node.attribute if attribute.name in {"windows", "magnitude"})
    yield scores
