"""``area_shrink`` as an ONNX function of standard operators."""

from __future__ import annotations

import onnx
from onnx import parser

DOMAIN = "forensics"
NAME = "AreaShrink"

_WEIGHTS = """
  {0}_start_flat = Range (zero, {0}_target, one)
  {0}_start_column = Unsqueeze ({0}_start_flat, last_axis)
  {0}_start = Mul ({0}_start_column, {0}_size)
  {0}_sample_flat = Range (zero, {0}_size, one)
  {0}_sample = Mul ({0}_sample_flat, {0}_target)
  {0}_interval_end = Add ({0}_start, {0}_size)
  {0}_sample_end = Add ({0}_sample, {0}_target)
  {0}_to = Min ({0}_interval_end, {0}_sample_end)
  {0}_from = Max ({0}_start, {0}_sample)
  {0}_signed = Sub ({0}_to, {0}_from)
  {0}_overlap = Max ({0}_signed, zero)
  {0}_numerator = Cast <to = 1> ({0}_overlap)
  {0}_denominator = Cast <to = 1> ({0}_size)
  {0}_weights = Div ({0}_numerator, {0}_denominator)
"""

_TARGET = """
  {0}_size = Gather <axis = 0> (shape, {0}_axis)
  {0}_scaled = Mul ({0}_size, wanted)
  {0}_twice = Mul ({0}_scaled, two)
  {0}_rounded = Add ({0}_twice, long_side)
  {0}_unclamped = Div ({0}_rounded, twice_long_side)
  {0}_target = Max ({0}_unclamped, one)
"""

_BODY = f"""
<opset_import: ["" : 18], domain: "{DOMAIN}">
{NAME} (frame, working_size) => (pixels) {{
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  two = Constant <value_int = 2> ()
  down_axis = Constant <value_int = 1> ()
  across_axis = Constant <value_int = 2> ()
  last_axis = Constant <value_ints = [1]> ()
  shape = Shape (frame)
  height = Gather <axis = 0> (shape, down_axis)
  width = Gather <axis = 0> (shape, across_axis)
  long_side = Max (height, width)
  twice_long_side = Mul (long_side, two)
  is_asked = Less (zero, working_size)
  asked = Where (is_asked, working_size, long_side)
  wanted = Min (asked, long_side)
{_TARGET.format("down")}{_TARGET.format("across")}{_WEIGHTS.format("down")}{_WEIGHTS.format("across")}
  values = Cast <to = 1> (frame)
  rows_shape = Constant <value_ints = [0, 0, -1]> ()
  rows = Reshape (values, rows_shape)
  short_rows = MatMul (down_weights, rows)
  colours = Constant <value_ints = [3]> ()
  keep = Constant <value_ints = [0, 0]> ()
  minus = Constant <value_ints = [-1]> ()
  zero_1 = Constant <value_ints = [0]> ()
  three_1 = Constant <value_ints = [3]> ()
  width_1 = Unsqueeze (width, zero_1)
  short_shape = Concat <axis = 0> (keep, minus, colours)
  short = Reshape (short_rows, short_shape)
  planes = Transpose <perm = [0, 1, 3, 2]> (short)
  planes_shape = Shape (planes)
  row_shape = Concat <axis = 0> (minus, width_1)
  lines = Reshape (planes, row_shape)
  across_columns = Transpose <perm = [1, 0]> (across_weights)
  small_lines = MatMul (lines, across_columns)
  leading = Slice (planes_shape, zero_1, three_1)
  small_shape = Concat <axis = 0> (leading, minus)
  small = Reshape (small_lines, small_shape)
  pixels = Transpose <perm = [0, 1, 3, 2]> (small)
}}
"""


def function() -> onnx.FunctionProto:
    """``forensics::AreaShrink(frame uint8 [N, H, W, 3], working_size int64 []) -> pixels float32 [N, h, w, 3]``.

    A working size of 0, or above the long side, leaves the frame as it is.
    """
    return parser.parse_function(_BODY)
