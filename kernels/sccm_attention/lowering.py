"""``sccm_attention`` as an ONNX function of standard operators."""

from __future__ import annotations

import onnx
from onnx import parser

from kernels.sccm_attention.functional import QUERY_BLOCKS

DOMAIN = "forensics"
NAME = "SCCMAttention"

_BLOCKS = range(QUERY_BLOCKS)
_BLOCK = """
  logits_{0} = MatMul (queries_{0}, keys)
  full_weights_{0} = Softmax <axis = -1> (logits_{0})
  weights_{0} = CastLike (full_weights_{0}, g)
  spatial_{0} = MatMul (weights_{0}, values)
"""
_BODY = f"""
<opset_import: ["" : 18], domain: "{DOMAIN}">
{NAME} (theta, phi, g) => (spatial, channel) {{
  full_theta = Cast <to = 1> (theta)
  keys = Cast <to = 1> (phi)
  values = Transpose <perm = [0, 2, 1]> (g)
  queries = Transpose <perm = [0, 2, 1]> (full_theta)
  {", ".join(f"queries_{block}" for block in _BLOCKS)} = Split <axis = 1, num_outputs = {QUERY_BLOCKS}> (queries)
{"".join(_BLOCK.format(block) for block in _BLOCKS)}
  spatial = Concat <axis = 1> ({", ".join(f"spatial_{block}" for block in _BLOCKS)})
  channel_keys = Transpose <perm = [0, 2, 1]> (keys)
  channel_logits = MatMul (full_theta, channel_keys)
  full_channel_weights = Softmax <axis = -1> (channel_logits)
  channel_weights = CastLike (full_channel_weights, g)
  channel = MatMul (values, channel_weights)
}}
"""


def function() -> onnx.FunctionProto:
    """``forensics::SCCMAttention(theta, phi, g: [B, C', N]) -> spatial, channel: [B, N, C']``, queries in blocks."""
    return parser.parse_function(_BODY)
