"""Our operators' nodes in an ONNX graph as nodes that TensorRT's parser takes for ahead-of-time plugins.

The parser looks plugins up by the node's type and the attributes ``plugin_namespace`` and ``plugin_version``, not by
its domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import onnx
from onnx import helper

from kernels import ops
from kernels.tensorrt_launch import NAMESPACE

Makers = dict[tuple[str, str], Callable[[onnx.NodeProto], list[onnx.NodeProto]]]
VERSION = "1"
"""Of all plugins: those that TensorRT registers from Python have it."""


def in_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with nodes of plugins for each operator that has any, and without its body; weights are shared.

    Raises ValueError where no kernel takes a node as it is.
    """
    makers: Makers = {}
    for op in ops():
        if find_spec(f"kernels.{op}.tensorrt_nodes"):
            lowering = import_module(f"kernels.{op}.lowering")
            makers[lowering.DOMAIN, lowering.NAME] = import_module(f"kernels.{op}.tensorrt_nodes").plugins
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _replace(copy.graph, makers)
    others = [function for function in copy.functions if (function.domain, function.name) not in makers]
    del copy.functions[:]
    copy.functions.extend(others)
    return copy


def _replace(graph: onnx.GraphProto, makers: Makers) -> None:
    """In the graph itself, and in the branches of its nodes."""
    nodes: list[onnx.NodeProto] = []
    for each in graph.node:
        for attribute in each.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _replace(attribute.g, makers)
        plugins = makers.get((each.domain, each.op_type))
        nodes.extend(plugins(each) if plugins else [each])
    del graph.node[:]
    graph.node.extend(nodes)


def node(plugin: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str) -> onnx.NodeProto:
    """A node of a plugin, without attributes of the plugin's own."""
    where = {"domain": NAMESPACE, "plugin_namespace": NAMESPACE, "plugin_version": VERSION}
    return helper.make_node(plugin, list(inputs), list(outputs), name=name, **where)
