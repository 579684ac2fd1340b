"""Sink + window attention of many query positions: visits only tiles with kept pairs."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from .checks import check_attention
from .constants import BLOCK, SINK
from .tables import window_table
from .tiles import needs_upcast, prefill_tiles

LOG2_E = 1.4426950408889634


@triton.jit
def _visit(
    q,
    k_base,
    v_base,
    k_stride,
    v_stride,
    acc,
    top,
    total,
    rows,
    row_start,
    lo,
    hi,
    scale,
    MASKED: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One segment of `spans.prefill_segments`: the online softmax over keys lo .. hi - 1."""
    lanes = tl.arange(0, KEYS)
    dims = tl.arange(0, PADDED_DIM)
    for at in range(lo, hi, KEYS):
        keys = at + lanes
        offsets = keys.to(tl.int64)
        k_at = k_base + offsets[None, :] * k_stride + dims[:, None]
        v_at = v_base + offsets[:, None] * v_stride + dims[None, :]
        if MASKED:
            inside = keys < hi
            k = tl.load(k_at, mask=inside[None, :] & (dims < DIM)[:, None], other=0.0)
            v = tl.load(v_at, mask=inside[:, None] & (dims < DIM)[None, :], other=0.0)
        elif DIM == PADDED_DIM:
            k = tl.load(k_at)
            v = tl.load(v_at)
        else:
            k = tl.load(k_at, mask=(dims < DIM)[:, None], other=0.0)
            v = tl.load(v_at, mask=(dims < DIM)[None, :], other=0.0)
        if UPCAST:
            k = k.to(tl.float32)
            v = v.to(tl.float32)
        scores = tl.dot(q, k, input_precision=PRECISION) * scale
        if MASKED:
            near = (keys < SINK)[None, :] | (keys[None, :] >= row_start[:, None])
            kept = inside[None, :] & (keys[None, :] <= rows[:, None]) & near
            scores = tl.where(kept, scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, 1))
        # A row may have met no kept key yet: -inf - -inf must not become NaN.
        shift = tl.where(new_top == float("-inf"), 0.0, new_top) if MASKED else new_top
        weights = tl.math.exp2(scores - shift[:, None])
        decay = tl.math.exp2(top - shift)
        total = total * decay + tl.sum(weights, 1)
        acc = acc * decay[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        top = new_top
    return acc, top, total


@triton.jit
def _prefill(
    Q,
    K,
    V,
    OUT,
    WINDOWS,
    q_batch,
    q_head,
    q_token,
    k_batch,
    k_head,
    k_token,
    v_batch,
    v_head,
    v_token,
    o_batch,
    o_head,
    o_token,
    windows_batch,
    q_len,
    kv_len,
    scale,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    # Late tiles have the longest windows: start them first. Heads of a group run side by side and share K/V in L2.
    tiles = tl.cdiv(q_len, ROWS)
    per_tile = tl.num_programs(0) // tiles
    tile = tiles - 1 - tl.program_id(0) // per_tile
    head = (tl.program_id(0) % per_tile) % HEADS
    batch = (tl.program_id(0) % per_tile) // HEADS
    wide_batch, wide_head = batch.to(tl.int64), head.to(tl.int64)
    window = tl.load(WINDOWS + wide_batch * windows_batch + head)

    lanes = tl.arange(0, ROWS)
    dims = tl.arange(0, PADDED_DIM)
    local = tile * ROWS + lanes
    wide_local = local.to(tl.int64)
    there = (local < q_len)[:, None] & (dims < DIM)[None, :]
    q_at = Q + wide_batch * q_batch + wide_head * q_head
    q = tl.load(q_at + wide_local[:, None] * q_token + dims[None, :], mask=there, other=0.0)
    if UPCAST:
        q = q.to(tl.float32)
    k_base = K + wide_batch * k_batch + (wide_head // GROUP) * k_head
    v_base = V + wide_batch * v_batch + (wide_head // GROUP) * v_head

    offset = kv_len - q_len
    first = offset + tile * ROWS
    end = tl.minimum(first + ROWS, kv_len)
    rows = offset + local
    row_start = tl.maximum(rows // BLOCK - window + 1, 0) * BLOCK
    start = tl.maximum(first // BLOCK - window + 1, 0) * BLOCK
    start_of_last = tl.maximum((end - 1) // BLOCK - window + 1, 0) * BLOCK

    # The segments of spans.prefill_segments, in its order.
    sink_end = tl.where(start > SINK, SINK, 0)
    sink_whole = sink_end // KEYS * KEYS
    start = tl.where(start > SINK, start, 0)
    leaving = tl.where(start_of_last <= SINK, 0, tl.maximum(start_of_last - start, 0))
    edge = tl.minimum(start + tl.cdiv(leaving, KEYS) * KEYS, end)
    diagonal = tl.maximum(edge, start + (first + 1 - start) // KEYS * KEYS)

    acc = tl.zeros([ROWS, PADDED_DIM], tl.float32)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    # fmt: off
    if SINK > 0:
        if SINK >= KEYS:
            acc, top, total = _visit(q, k_base, v_base, k_token, v_token, acc, top, total, rows, row_start, 0,
                                     sink_whole, scale, False, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
        if SINK % KEYS != 0:
            acc, top, total = _visit(q, k_base, v_base, k_token, v_token, acc, top, total, rows, row_start,
                                     sink_whole, sink_end, scale, True, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    acc, top, total = _visit(q, k_base, v_base, k_token, v_token, acc, top, total, rows, row_start, start, edge,
                             scale, True, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    acc, top, total = _visit(q, k_base, v_base, k_token, v_token, acc, top, total, rows, row_start, edge, diagonal,
                             scale, False, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    acc, top, total = _visit(q, k_base, v_base, k_token, v_token, acc, top, total, rows, row_start, diagonal, end,
                             scale, True, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    # fmt: on
    o_at = OUT + wide_batch * o_batch + wide_head * o_head
    result = (acc / total[:, None]).to(OUT.dtype.element_ty)
    tl.store(o_at + wide_local[:, None] * o_token + dims[None, :], result, mask=there)


def windowed_prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: Sequence[int] | Sequence[Sequence[int]],
    scale: float | None = None,
    out: torch.Tensor | None = None,
    tiles: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Attention of the last ``q_len`` of ``kv_len`` positions over the sink and each query head's window.

    q: [batch, query heads, q_len, dim]; k, v: [batch, KV heads, kv_len, dim], any strides with contiguous last axis;
    fp16, bf16 or fp32. ``windows``: blocks per query head, or per row and query head. ``scale`` defaults to
    dim ** -0.5. ``tiles``: (query rows, keys) of a tile, powers of two ≥ 16. Returns ``out``, shaped as q.
    """
    batch, heads, q_len, dim = q.shape
    q, k, v = check_attention(q, k, v, q_len)
    out = torch.empty_like(q) if out is None else out
    if out.shape != q.shape or out.dtype != q.dtype or out.stride(-1) != 1:
        raise ValueError("out must have the shape and dtype of q and a contiguous last axis")
    table = window_table(windows, batch, heads, q.device)
    config = prefill_tiles(dim, q.dtype, q.device)
    rows, keys = (config.rows, config.keys) if tiles is None else tiles
    _prefill[(triton.cdiv(q_len, rows) * heads * batch,)](
        q,
        k,
        v,
        out,
        table,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *out.stride()[:3],
        table.stride(0),
        q_len,
        k.shape[2],
        (dim**-0.5 if scale is None else scale) * LOG2_E,
        HEADS=heads,
        GROUP=heads // k.shape[1],
        BLOCK=BLOCK,
        SINK=SINK,
        DIM=dim,
        PADDED_DIM=max(16, triton.next_power_of_2(dim)),
        ROWS=rows,
        KEYS=keys,
        PRECISION="ieee",
        UPCAST=needs_upcast(q),
        num_warps=config.warps,
        num_stages=config.stages,
    )
    return out
