"""An ``SCCMAttention`` node as nodes of its plugins, for :mod:`kernels.tensorrt_nodes`."""

from __future__ import annotations

import onnx

from kernels.sccm_attention.tensorrt_plugin import CHANNEL, LOGITS, RANGES, SPATIAL, WEIGHTS
from kernels.tensorrt_nodes import node as plugin


def plugins(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """One after the other, the two branches."""
    theta, phi, g = node.input
    spatial, channel = node.output
    ranges = [f"{spatial}/{name}" for name in ("sums", "tops", "totals")]
    logits, weights = f"{channel}/logits", f"{channel}/weights"
    return [
        plugin(RANGES, [theta, phi, g], ranges, name=f"{node.name}/ranges"),
        plugin(SPATIAL, [*ranges, g], [spatial], name=f"{node.name}/spatial"),
        plugin(LOGITS, [theta, phi], [logits], name=f"{node.name}/logits"),
        plugin(WEIGHTS, [logits, g], [weights], name=f"{node.name}/weights"),
        plugin(CHANNEL, [g, weights], [channel], name=f"{node.name}/channel"),
    ]
