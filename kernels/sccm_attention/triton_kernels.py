"""SCCM attention in Triton, whose compiler has Hopper's own matrix instructions: float16 and bfloat16.

The same two branches in the same ranges as ``sccm_attention.cu``: logits, softmax and sums in float32, the N x N logits
never stored. Channels are taken in two pieces, since a tile's side is a power of two: 288 as 256 and 32, 144 as 128 and
16, for which 512 and 256 would do twice the work. No GPU has run them yet.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _piece(array, channel, position, d, n):
    """Of ``array`` [d, n], zeros beyond its ends."""
    inside = (channel < d) & (position < n)
    return tl.load(array + channel * n + position, mask=inside, other=0)


@triton.jit
def spatial(
    theta, phi, g, sums, tops, totals, b, d, n, length,
    queries: tl.constexpr, keys: tl.constexpr, head: tl.constexpr, tail: tl.constexpr,
):  # fmt: skip
    """What a tile of queries finds out from one range of ``length`` keys, as ``Partial`` in ``shape.cuh`` has it."""
    split, batch = tl.program_id(1), tl.program_id(2)
    base = batch.to(tl.int64) * d * n
    query = tl.program_id(0) * queries + tl.arange(0, queries)
    first, second = tl.arange(0, head), head + tl.arange(0, tail)
    query_first = _piece(theta + base, first[None, :], query[:, None], d, n)
    query_second = _piece(theta + base, second[None, :], query[:, None], d, n)
    top = tl.full([queries], float("-inf"), tl.float32)
    total = tl.full([queries], 0.0, tl.float32)
    sum_first = tl.full([queries, head], 0.0, tl.float32)
    sum_second = tl.full([queries, tail], 0.0, tl.float32)
    for start in range(split * length, tl.minimum(n, (split + 1) * length), keys):
        key = start + tl.arange(0, keys)
        logits = tl.dot(query_first, _piece(phi + base, first[:, None], key[None, :], d, n))
        logits = tl.dot(query_second, _piece(phi + base, second[:, None], key[None, :], d, n), logits)
        logits = tl.where(key[None, :] < n, logits, float("-inf"))
        now = tl.maximum(top, tl.max(logits, 1))
        fade = tl.exp(top - now)
        weights = tl.exp(logits - now[:, None])
        total = total * fade + tl.sum(weights, 1)
        top = now
        narrow = weights.to(g.dtype.element_ty)
        sum_first = tl.dot(narrow, _piece(g + base, first[None, :], key[:, None], d, n), sum_first * fade[:, None])
        sum_second = tl.dot(narrow, _piece(g + base, second[None, :], key[:, None], d, n), sum_second * fade[:, None])
    row = (split * b + batch).to(tl.int64) * n + query
    there = query < n
    tl.store(tops + row, top, mask=there)
    tl.store(totals + row, total, mask=there)
    tl.store(sums + row[:, None] * d + first[None, :], sum_first, mask=there[:, None] & (first < d)[None, :])
    tl.store(sums + row[:, None] * d + second[None, :], sum_second, mask=there[:, None] & (second < d)[None, :])


@triton.jit
def merge(sums, tops, totals, out, rows, d, splits: tl.constexpr, tile: tl.constexpr, width: tl.constexpr):
    """Spatial [b n, d] from the ranges of the keys together."""
    row = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    channel = tl.arange(0, width)
    there = row < rows
    inside = there[:, None] & (channel < d)[None, :]
    top = tl.full([tile], float("-inf"), tl.float32)
    for split in range(splits):
        top = tl.maximum(top, tl.load(tops + split * rows + row, mask=there, other=0))
    total = tl.full([tile], 0.0, tl.float32)
    found = tl.full([tile, width], 0.0, tl.float32)
    for split in range(splits):
        weight = tl.exp(tl.load(tops + split * rows + row, mask=there, other=0) - top)
        total += weight * tl.load(totals + split * rows + row, mask=there, other=1)
        at = sums + (split * rows + row)[:, None] * d + channel[None, :]
        found += weight[:, None] * tl.load(at, mask=inside, other=0)
    tl.store(out + row[:, None] * d + channel[None, :], (found / total[:, None]).to(out.dtype.element_ty), mask=inside)


@triton.jit
def channel_logits(theta, phi, logits, b, d, n, length, tile: tl.constexpr, step: tl.constexpr):
    """Logits [parts, b, d, d] of the channels, over ``length`` positions a part."""
    across = (d + tile - 1) // tile
    row = tl.program_id(0) // across * tile + tl.arange(0, tile)
    column = tl.program_id(0) % across * tile + tl.arange(0, tile)
    part, batch = tl.program_id(1), tl.program_id(2)
    base = batch.to(tl.int64) * d * n
    found = tl.full([tile, tile], 0.0, tl.float32)
    for start in range(part * length, tl.minimum(n, (part + 1) * length), step):
        position = start + tl.arange(0, step)
        left = _piece(theta + base, row[:, None], position[None, :], d, n)
        right = _piece(phi + base, column[None, :], position[:, None], d, n)
        found = tl.dot(left, right, found)
    at = logits + (part * b + batch).to(tl.int64) * d * d + row[:, None] * d + column[None, :]
    tl.store(at, found, mask=(row < d)[:, None] & (column < d)[None, :])


@triton.jit
def channel_softmax(logits, weights, rows, d, parts: tl.constexpr, width: tl.constexpr):
    """Weights [b d, d] of one row of the channels."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, width)
    found = tl.full([width], 0.0, tl.float32)
    for part in range(parts):
        found += tl.load(logits + (part * rows + row) * d + column, mask=column < d, other=0)
    found = tl.where(column < d, found, float("-inf"))
    found = tl.exp(found - tl.max(found, 0))
    tl.store(weights + row * d + column, (found / tl.sum(found, 0)).to(weights.dtype.element_ty), mask=column < d)


@triton.jit
def channel_product(g, weights, channel, d, n, tile: tl.constexpr, step: tl.constexpr):
    """Channel [b, n, d]: positions times the channels' weights."""
    across = (d + tile - 1) // tile
    position = tl.program_id(0) // across * tile + tl.arange(0, tile)
    column = tl.program_id(0) % across * tile + tl.arange(0, tile)
    batch = tl.program_id(1).to(tl.int64)
    found = tl.full([tile, tile], 0.0, tl.float32)
    for start in range(0, d, step):
        row = start + tl.arange(0, step)
        left = _piece(g + batch * d * n, row[None, :], position[:, None], d, n)
        right = _piece(weights + batch * d * d, row[:, None], column[None, :], d, d)
        found = tl.dot(left, right, found)
    at = channel + (batch * n + position[:, None]) * d + column[None, :]
    tl.store(at, found.to(channel.dtype.element_ty), mask=(position < n)[:, None] & (column < d)[None, :])
