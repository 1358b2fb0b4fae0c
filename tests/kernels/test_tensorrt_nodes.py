"""Graphs in which our operators are nodes become graphs in which plugins are."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from kernels.sccm_attention import lowering as attention_lowering
from kernels.sccm_attention import tensorrt_plugin as attention
from kernels.tensorrt_nodes import in_plugins
from kernels.zpool2d import lowering as pooling_lowering
from kernels.zpool2d import tensorrt_plugin as pooling

PLUGINS = {plugin.name: plugin for plugin in (*pooling.PLUGINS, *attention.plugins(tensor_cores=True))}


@pytest.fixture
def model() -> onnx.ModelProto:
    """Both operators, and one of ours that has no plugins, one after the other."""
    nodes = [
        helper.make_node("ZPool2D", ["x", "floor"], ["z"], name="pool", domain="forensics", windows=[7], magnitude=1),
        helper.make_node("Reshape", ["z", "shape"], ["theta"], name="fold"),
        helper.make_node("SCCMAttention", ["theta", "theta", "g"], ["s", "c"], name="attend", domain="forensics"),
        helper.make_node("AreaShrink", ["s", "size"], ["small"], name="shrink", domain="forensics"),
    ]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "floor", "g")}
    values |= {name: helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in ("shape", "size")}
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("small", "c")]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("forensics", 1)]
    bodies = [pooling_lowering.function(windows=(7,), magnitude=1), attention_lowering.function()]
    other = helper.make_function("forensics", "AreaShrink", ["x", "size"], ["y"], [], [helper.make_opsetid("", 18)])
    graph = helper.make_graph(nodes, "both", list(values.values()), answers)
    return helper.make_model(graph, opset_imports=opsets, functions=[*bodies, other])


def test_nodes_of_both_operators_become_nodes_of_their_plugins_and_others_stay(model):
    before = model.SerializeToString()
    found = in_plugins(model)
    types = [node.op_type for node in found.graph.node]
    attend = [f"SCCMAttention{step}" for step in ("Ranges", "Spatial", "Logits", "Weights", "Channel")]
    assert types == ["ZPool2DMoments", "ZPool2DScores", "Reshape", *attend, "AreaShrink"]
    assert [function.name for function in found.functions] == ["AreaShrink"]
    assert len({node.name for node in found.graph.node}) == len(types)
    assert model.SerializeToString() == before


def test_what_a_node_takes_is_there_and_is_what_its_plugin_takes(model):
    found = in_plugins(model)
    there = {value.name for value in found.graph.input}
    for node in found.graph.node:
        assert there.issuperset(node.input)
        assert there.isdisjoint(node.output)
        there.update(node.output)
        told = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type in PLUGINS:
            plugin = PLUGINS[node.op_type]
            assert (len(node.input), len(node.output)) == (len(plugin.inputs), plugin.outputs)
            assert (told.pop("plugin_namespace"), told.pop("plugin_version")) == (b"forensics", b"1")
            assert told.keys() == plugin.settings.keys()
    assert there.issuperset(value.name for value in found.graph.output)


def test_nodes_within_branches_are_replaced_too(model):
    branch = helper.make_graph(model.graph.node[2:], "then", [], model.graph.output)
    choice = helper.make_node("If", ["asked"], ["small", "c"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([*model.graph.node[:2], choice], "one", model.graph.input, model.graph.output)
    functions = list(model.functions)
    found = in_plugins(helper.make_model(graph, opset_imports=model.opset_import, functions=functions)).graph.node
    attend = [f"SCCMAttention{step}" for step in ("Ranges", "Spatial", "Logits", "Weights", "Channel")]
    for attribute in found[-1].attribute:
        assert [node.op_type for node in attribute.g.node] == [*attend, "AreaShrink"]
