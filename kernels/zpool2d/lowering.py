"""``zpool2d`` as an ONNX function of standard operators."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import parser

from kernels.zpool2d.functional import WINDOWS, check_windows

DOMAIN = "forensics"
NAME = "ZPool2D"

_WINDOW = """
  column_mean_{k} = AveragePool <kernel_shape = [{k}, 1], pads = [{h}, 0, {h}, 0], count_include_pad = 0> (centred)
  mean_{k} = AveragePool <kernel_shape = [1, {k}], pads = [0, {h}, 0, {h}], count_include_pad = 0> (column_mean_{k})
  flat_{k} = Sub (centred, mean_{k})
  difference_{k} = Unsqueeze (flat_{k}, axis_1)
"""

_BODY = """
<opset_import: ["" : 18], domain: "{domain}">
{name} <windows, magnitude> (x, min_std) => (z) {{
  axis_1 = Constant <value_ints = [1]> ()
  axis_2 = Constant <value_ints = [2]> ()
  axis_3 = Constant <value_ints = [3]> ()
  axes_of_std = Constant <value_ints = [1, 2]> ()
  full = Cast <to = 1> (x)
  row_mean = ReduceMean <keepdims = 1> (full, axis_3)
  mean = ReduceMean <keepdims = 1> (row_mean, axis_2)
  centred = Sub (full, mean)
  squares = Mul (centred, centred)
  row_variance = ReduceMean <keepdims = 1> (squares, axis_3)
  variance = ReduceMean <keepdims = 1> (row_variance, axis_2)
  full_min_std = Cast <to = 1> (min_std)
  floor = Unsqueeze (full_min_std, axes_of_std)
  deviation = Sqrt (variance)
  floored = Max (deviation, floor)
  std = Unsqueeze (floored, axis_1)
{pools}
  difference_frame = Unsqueeze (centred, axis_1)
  differences = Concat <axis = 1> ({differences}, difference_frame)
  scores = Div (differences, std)
  signed_or_not = {sign} (scores)
  z = CastLike (signed_or_not, x)
}}
"""


def function(*, windows: Sequence[int] = WINDOWS, magnitude: int = 1) -> onnx.FunctionProto:
    """``forensics::ZPool2D(x [N, C, H, W], min_std [C]; windows, magnitude) -> z [N, len(windows) + 1, C, H, W]``.

    The arguments are the node's attributes: a body has as many pools as its node has windows, which no function can
    take from an attribute at run time, so every set of them has a body of its own. Any float type in and out,
    float32 between; the same steps as :func:`.functional.zscores`.
    """
    check_windows(tuple(windows))
    text = _BODY.format(
        domain=DOMAIN,
        name=NAME,
        pools="".join(_WINDOW.format(k=window, h=window // 2) for window in dict.fromkeys(windows)),
        differences=", ".join(f"difference_{window}" for window in windows),
        sign="Abs" if magnitude else "Identity",
    )
    return parser.parse_function(text)
