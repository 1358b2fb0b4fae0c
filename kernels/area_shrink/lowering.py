"""``area_shrink`` as an ONNX function of standard operators.

Of the matrices that average rows and columns nearly all is zero: a target reads the samples under it. So both products
are made in blocks, :data:`BLOCK` targets with the samples under these, and their cost does not grow with the frame's
sides but for its samples.
"""

from __future__ import annotations

import onnx
from onnx import parser

DOMAIN = "forensics"
NAME = "AreaShrink"

BLOCK = 8
"""Targets in a block: more multiply by zero more often, fewer make products too thin for a CPU."""

_TARGET = """
  {0}_size = Gather <axis = 0> (shape, {0}_axis)
  {0}_scaled = Mul ({0}_size, wanted)
  {0}_twice = Mul ({0}_scaled, two)
  {0}_rounded = Add ({0}_twice, long_side)
  {0}_unclamped = Div ({0}_rounded, twice_long_side)
  {0}_target = Max ({0}_unclamped, one)
  {0}_target_1 = Unsqueeze ({0}_target, axis_0)
"""

# [blocks, length] indices of the samples under each block, as many as the worst placed block has; those beyond the last
# sample are read from it and weigh nothing. A block starts behind `first_sample` whole samples and `away` parts of one,
# of which a sample has as many as there are targets. Products stay small, because OpenVINO reckons with integers in
# float32: all are exact up to 4096 targets.
_SAMPLES = """
  {0}_whole = Div ({0}_size, {0}_target)
  {0}_in_whole = Mul ({0}_whole, {0}_target)
  {0}_left = Sub ({0}_size, {0}_in_whole)
  {0}_first_flat = Range (zero, {0}_target, block)
  {0}_first = Unsqueeze ({0}_first_flat, axis_1)
  {0}_parts = Mul ({0}_first, {0}_left)
  {0}_carried = Div ({0}_parts, {0}_target)
  {0}_in_carried = Mul ({0}_carried, {0}_target)
  {0}_away = Sub ({0}_parts, {0}_in_carried)
  {0}_before = Mul ({0}_first, {0}_whole)
  {0}_first_sample = Add ({0}_before, {0}_carried)
  {0}_extent = Mul ({0}_size, block)
  {0}_covered = Div ({0}_extent, {0}_target)
  {0}_length = Add ({0}_covered, two)
  {0}_offsets = Range (zero, {0}_length, one)
  {0}_indices = Add ({0}_first_sample, {0}_offsets)
  {0}_last = Sub ({0}_size, one)
  {0}_samples = Min ({0}_indices, {0}_last)
"""

# [blocks, BLOCK, length]: overlaps of targets, `size` parts long, and samples, counted from the block's first sample.
_WEIGHTS = """
  {0}_rows = Mul (of_block, {0}_size)
  {0}_start_flat = Add ({0}_rows, {0}_away)
  {0}_start = Unsqueeze ({0}_start_flat, axis_2)
  {0}_sample = Mul ({0}_offsets, {0}_target)
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

# TensorRT gathers no uint8: the frame is cast first.
_BODY = f"""
<opset_import: ["" : 18], domain: "{DOMAIN}">
{NAME} (frame, working_size) => (pixels) {{
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  two = Constant <value_int = 2> ()
  block = Constant <value_int = {BLOCK}> ()
  of_block = Range (zero, block, one)
  down_axis = Constant <value_int = 1> ()
  across_axis = Constant <value_int = 2> ()
  axis_0 = Constant <value_ints = [0]> ()
  axis_1 = Constant <value_ints = [1]> ()
  axis_2 = Constant <value_ints = [2]> ()
  axis_4 = Constant <value_ints = [4]> ()
  shape = Shape (frame)
  height = Gather <axis = 0> (shape, down_axis)
  width = Gather <axis = 0> (shape, across_axis)
  long_side = Max (height, width)
  twice_long_side = Mul (long_side, two)
  is_asked = Less (zero, working_size)
  asked = Where (is_asked, working_size, long_side)
  wanted = Min (asked, long_side)
{"".join(part.format(axis) for axis in ("down", "across") for part in (_TARGET, _SAMPLES, _WEIGHTS))}
  values = Cast <to = 1> (frame)
  strips = Gather <axis = 1> (values, down_samples)
  rows_shape = Constant <value_ints = [0, 0, 0, -1]> ()
  rows = Reshape (strips, rows_shape)
  short_rows = MatMul (down_weights, rows)
  keep = Constant <value_ints = [0]> ()
  minus = Constant <value_ints = [-1]> ()
  colours = Constant <value_ints = [3]> ()
  width_1 = Unsqueeze (width, axis_0)
  short_shape = Concat <axis = 0> (keep, minus, width_1, colours)
  short = Reshape (short_rows, short_shape)
  columns = Transpose <perm = [2, 0, 1, 3]> (short)
  bands = Gather <axis = 0> (columns, across_samples)
  lines_shape = Constant <value_ints = [0, 0, -1]> ()
  lines = Reshape (bands, lines_shape)
  small_lines = MatMul (across_weights, lines)
  columns_shape = Shape (columns)
  column_shape = Slice (columns_shape, axis_1, axis_4)
  small_shape = Concat <axis = 0> (minus, column_shape)
  small = Reshape (small_lines, small_shape)
  blocks = Transpose <perm = [1, 2, 0, 3]> (small)
  corner = Constant <value_ints = [0, 0]> ()
  targets = Concat <axis = 0> (down_target_1, across_target_1)
  sides = Constant <value_ints = [1, 2]> ()
  pixels = Slice (blocks, corner, targets, sides)
}}
"""


def function() -> onnx.FunctionProto:
    """``forensics::AreaShrink(frame uint8 [N, H, W, 3], working_size int64 []) -> pixels float32 [N, h, w, 3]``.

    A working size of 0, or above the long side, leaves the frame as it is.
    """
    return parser.parse_function(_BODY)
