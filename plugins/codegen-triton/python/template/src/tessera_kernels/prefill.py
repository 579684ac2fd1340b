"""Sink + window attention of many query positions: visits only tiles with kept pairs."""

import os
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .checks import check_attention
from .constants import BLOCK, SINK
from .past import Past, check_past
from .tables import as_rows, int_table, order_table, real_rows, window_table
from .tiles import PrefillTiles, needs_upcast, prefill_tiles

LOG2_E = 1.4426950408889634

_ASKED = os.environ.get("TESSERA_HOPPER", "1" if triton.__version__.startswith("3.6.") else "0")
HOPPER = _ASKED != "0"
"""Whether ``prefill_hopper`` is used where it fits: with the Triton whose Gluon it was written for, unless the
environment variable TESSERA_HOPPER says 0 (never) or 1 (with any Triton)."""


@triton.jit
def _segments(first, last, window, held, lo, hi, BLOCK: tl.constexpr, SINK: tl.constexpr, KEYS: tl.constexpr):
    """`spans.prefill_segments` over the keys lo .. hi - 1 as edges: sink tiles, its end, start, edge, diagonal, end."""
    start = tl.maximum(tl.maximum(first // BLOCK - window + 1, 0) * BLOCK, held)
    start_of_last = tl.maximum(tl.maximum(last // BLOCK - window + 1, 0) * BLOCK, held)
    apart = start > SINK
    sink_end = tl.maximum(tl.where(apart, tl.minimum(SINK, hi), lo), lo)
    begin = tl.maximum(tl.where(apart, start, 0), lo)
    end = tl.maximum(tl.minimum(last + 1, hi), begin)
    leaving = tl.where(start_of_last <= SINK, 0, tl.maximum(start_of_last - begin, 0))
    edge = tl.minimum(begin + tl.cdiv(leaving, KEYS) * KEYS, end)
    diagonal = tl.maximum(edge, begin + (tl.minimum(first + 1, end) - begin) // KEYS * KEYS)
    return (sink_end - lo) // KEYS, sink_end, begin, edge, diagonal, end


@triton.jit
def _visit(
    q,
    k_base,
    v_base,
    k_token,
    v_token,
    K_BOX,
    V_BOX,
    batch,
    kv_head,
    box_row,
    ring,
    acc,
    top,
    total,
    rows,
    row_start,
    # Three runs of tiles, visited in this order: first key, tiles, and the key that ends the run.
    at_a,
    tiles_a,
    end_a,
    at_b,
    tiles_b,
    end_b,
    at_c,
    tiles_c,
    end_c,
    scale,
    MASKED: tl.constexpr,
    CACHED: tl.constexpr,
    BULK: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """The online softmax over runs of key tiles; scores are scaled where the exponent is taken, in one FMA."""
    lanes = tl.arange(0, KEYS)
    dims = tl.arange(0, PADDED_DIM)
    wide = lanes.to(tl.int64)
    k_lanes = k_base + wide[None, :] * k_token + dims[:, None]
    v_lanes = v_base + wide[:, None] * v_token + dims[None, :]
    real = dims < DIM
    for i in range(0, tiles_a + tiles_b + tiles_c):
        in_a, in_b = i < tiles_a, i < tiles_a + tiles_b
        at = tl.where(in_b, at_b + (i - tiles_a) * KEYS, at_c + (i - tiles_a - tiles_b) * KEYS)
        at = tl.where(in_a, at_a + i * KEYS, at)
        keys = at + lanes
        inside = keys < tl.where(in_a, end_a, tl.where(in_b, end_b, end_c))
        if CACHED:
            slots = tl.where(keys < SINK, keys, SINK + (keys - SINK) % ring).to(tl.int64)
            k_at = k_base + slots[None, :] * k_token + dims[:, None]
            v_at = v_base + slots[:, None] * v_token + dims[None, :]
        else:
            k_at = k_lanes + at.to(tl.int64) * k_token
            v_at = v_lanes + at.to(tl.int64) * v_token
        if MASKED:
            k = tl.load(k_at, mask=inside[None, :] & real[:, None], other=0.0)
        elif BULK:
            k = K_BOX.load([batch, kv_head, box_row + at, 0]).reshape(KEYS, PADDED_DIM).T
        elif DIM == PADDED_DIM:
            k = tl.load(k_at)
        else:
            k = tl.load(k_at, mask=real[:, None], other=0.0)
        if UPCAST:
            k = k.to(tl.float32)
        scores = tl.dot(q, k, input_precision=PRECISION)
        if MASKED:
            near = (keys < SINK)[None, :] | (keys[None, :] >= row_start[:, None])
            kept = inside[None, :] & (keys[None, :] <= rows[:, None]) & near
            scores = tl.where(kept, scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, 1) * scale)
        # A row may have met no kept key yet: -inf - -inf must not become NaN.
        shift = tl.where(new_top == float("-inf"), 0.0, new_top) if MASKED else new_top
        weights = tl.math.exp2(scores * scale - shift[:, None])
        decay = tl.math.exp2(top - shift)
        total = total * decay + tl.sum(weights, 1)
        acc = acc * decay[:, None]
        if MASKED:
            v = tl.load(v_at, mask=inside[:, None] & real[None, :], other=0.0)
        elif BULK:
            v = V_BOX.load([batch, kv_head, box_row + at, 0]).reshape(KEYS, PADDED_DIM)
        elif DIM == PADDED_DIM:
            v = tl.load(v_at)
        else:
            v = tl.load(v_at, mask=real[None, :], other=0.0)
        if UPCAST:
            v = v.to(tl.float32)
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
    ORDER,
    K_BOX,
    V_BOX,
    STARTS,
    LENGTHS,
    PAST_K,
    PAST_V,
    PAST_LENGTHS,
    PLACES,
    HELD,
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
    pk_batch,
    pk_slot,
    pv_batch,
    pv_slot,
    windows_batch,
    q_len,
    kv_len,
    tiles,
    scale,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    LOOSE: tl.constexpr,
    RAGGED: tl.constexpr,
    PAST: tl.constexpr,
    RESIZED: tl.constexpr,
    BULK: tl.constexpr,
    GROUPWISE: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    # Late tiles have the longest windows: start them first. Query heads of a group, side by side, share K and V.
    if GROUPWISE:
        # All of a KV group before the next one, which has shorter windows: its K and V stay in L2.
        member = tl.program_id(0) % GROUP
        rest = tl.program_id(0) // GROUP
        tile = tiles - 1 - rest % tiles
        batches = tl.num_programs(0) // (tiles * HEADS)
        batch = (rest // tiles) % batches
        head = tl.load(ORDER + rest // tiles // batches * GROUP + member)
    else:
        per_tile = tl.num_programs(0) // tiles
        tile = tiles - 1 - tl.program_id(0) // per_tile
        head = tl.load(ORDER + (tl.program_id(0) % per_tile) % HEADS)
        batch = (tl.program_id(0) % per_tile) // HEADS
    wide_batch, wide_head = batch.to(tl.int64), head.to(tl.int64)
    kv_head = head // GROUP
    wide_kv = kv_head.to(tl.int64)
    o_at = OUT + wide_batch * o_batch + wide_head * o_head
    lanes = tl.arange(0, ROWS)
    dims = tl.arange(0, PADDED_DIM)

    # Real keys are the rows pad .. pad + count - 1 of K; the first of them has position past.
    pad = tl.full([], 0, tl.int32)
    past = tl.full([], 0, tl.int32)
    count = kv_len
    if RAGGED:
        pad = tl.load(STARTS + batch).to(tl.int32)
        count = tl.load(LENGTHS + batch).to(tl.int32)
        stored = tile * ROWS + lanes
        token = stored + (kv_len - q_len)
        empty = (stored < q_len) & ((token < pad) | (token >= pad + count))
        zeros = tl.zeros([ROWS, PADDED_DIM], OUT.dtype.element_ty)
        z_at = o_at + stored.to(tl.int64)[:, None] * o_token + dims[None, :]
        tl.store(z_at, zeros, mask=empty[:, None] & (dims < DIM)[None, :])
    if PAST:
        past = tl.load(PAST_LENGTHS + batch).to(tl.int32)

    # Tiles begin at multiples of ROWS of the position, so that they meet few blocks.
    first_query = past + tl.maximum(kv_len - q_len - pad, 0)
    base = (first_query // ROWS + tile) * ROWS
    first = tl.maximum(base, first_query)
    end = tl.minimum(base + ROWS, past + count)
    if LOOSE:  # noqa: SIM102 (a constant of the compiler)
        if first >= end:
            return

    rows = base + lanes
    # From position to row of K, and to row of Q.
    to_key = pad - past
    local = (rows + to_key - (kv_len - q_len)).to(tl.int64)
    there = ((rows >= first) & (rows < end))[:, None] & (dims < DIM)[None, :]
    q_at = Q + wide_batch * q_batch + wide_head * q_head
    q = tl.load(q_at + local[:, None] * q_token + dims[None, :], mask=there, other=0.0)
    if UPCAST:
        q = q.to(tl.float32)
    window = tl.load(WINDOWS + wide_batch * windows_batch + head)
    row_start = tl.maximum(rows // BLOCK - window + 1, 0) * BLOCK
    held = tl.full([], 0, tl.int32)
    if RESIZED:
        held = tl.load(HELD + wide_batch * (HEADS // GROUP) + kv_head)
        held = tl.where(held > SINK, held, 0)
        row_start = tl.maximum(row_start, held)

    acc = tl.zeros([ROWS, PADDED_DIM], tl.float32)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    # fmt: off
    if PAST:
        place = tl.load(PLACES + kv_head).to(tl.int64)
        ring = tl.load(PLACES + HEADS // GROUP + kv_head)
        k_base = PAST_K + wide_batch * pk_batch + place * pk_slot
        v_base = PAST_V + wide_batch * pv_batch + place * pv_slot
        sink, sink_end, start, edge, diagonal, to = _segments(first, end - 1, window, held, 0, past, BLOCK, SINK, KEYS)
        acc, top, total = _visit(q, k_base, v_base, pk_slot, pv_slot, K_BOX, V_BOX, batch, kv_head, 0, ring, acc, top,
                                 total, rows, row_start, 0, sink, sink_end, edge, (diagonal - edge) // KEYS, to, 0, 0,
                                 0, scale, False, True, False, SINK, DIM, PADDED_DIM, KEYS, PRECISION,
                                 UPCAST)
        acc, top, total = _visit(q, k_base, v_base, pk_slot, pv_slot, K_BOX, V_BOX, batch, kv_head, 0, ring, acc, top,
                                 total, rows, row_start, sink * KEYS, tl.cdiv(sink_end - sink * KEYS, KEYS), sink_end,
                                 start, tl.cdiv(edge - start, KEYS), edge, diagonal, tl.cdiv(to - diagonal, KEYS), to,
                                 scale, True, True, False, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    k_base = K + wide_batch * k_batch + wide_kv * k_head + to_key.to(tl.int64) * k_token
    v_base = V + wide_batch * v_batch + wide_kv * v_head + to_key.to(tl.int64) * v_token
    sink, sink_end, start, edge, diagonal, to = _segments(first, end - 1, window, held, past, end, BLOCK, SINK, KEYS)
    rest = past + sink * KEYS
    acc, top, total = _visit(q, k_base, v_base, k_token, v_token, K_BOX, V_BOX, batch, kv_head, to_key, 1, acc, top,
                             total, rows, row_start, past, sink, sink_end, edge, (diagonal - edge) // KEYS, to, 0, 0, 0,
                             scale, False, False, BULK, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    acc, top, total = _visit(q, k_base, v_base, k_token, v_token, K_BOX, V_BOX, batch, kv_head, to_key, 1, acc, top,
                             total, rows, row_start, rest, tl.cdiv(sink_end - rest, KEYS), sink_end, start,
                             tl.cdiv(edge - start, KEYS), edge, diagonal, tl.cdiv(to - diagonal, KEYS), to, scale,
                             True, False, False, SINK, DIM, PADDED_DIM, KEYS, PRECISION, UPCAST)
    # fmt: on
    result = (acc / total[:, None]).to(OUT.dtype.element_ty)
    tl.store(o_at + local[:, None] * o_token + dims[None, :], result, mask=there)


def _boxes(k: torch.Tensor, v: torch.Tensor, keys: int, padded: int):
    """Descriptors for the bulk copy engine, or None where an address or a stride is not of 16 bytes."""
    for tensor in (k, v):
        sixteen = [tensor.data_ptr(), *(stride * tensor.element_size() for stride in tensor.stride()[:3])]
        if any(byte % 16 != 0 for byte in sixteen) or 0 in tensor.stride():
            return None
    return [TensorDescriptor(t, list(t.shape), list(t.stride()), [1, 1, keys, padded]) for t in (k, v)]


def windowed_prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: Sequence[int] | Sequence[Sequence[int]],
    scale: float | None = None,
    out: torch.Tensor | None = None,
    starts: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    past: Past | None = None,
    tiles: PrefillTiles | None = None,
) -> torch.Tensor:
    """Attention of the last ``q_len`` of ``kv_len`` positions over the sink and each query head's window.

    q: [batch, query heads, q_len, dim]; k, v: [batch, KV heads, kv_len, dim], any strides with contiguous last axis;
    fp16, bf16 or fp32. ``windows``: blocks per query head, or per row and query head. ``scale`` defaults to
    dim ** -0.5.

    ``starts`` and ``lengths``, int32 or int64 [batch] on the device, say which of a padded row's tokens are real:
    ``starts[row] .. starts[row] + lengths[row] - 1`` of k (default: all from the start, or all to the end). A row's
    first real token has position 0. Padded keys are not read, padded queries give zeros. With ``past`` the tokens
    follow positions that are cached already: a row's first real token has position ``past.lengths[row]``. Nothing on
    the host depends on device values. Returns ``out``, shaped as q.
    """
    batch, heads, q_len, dim = q.shape
    q, k, v = check_attention(q, k, v, q_len)
    kv_heads, kv_len = k.shape[1], k.shape[2]
    group = heads // kv_heads
    factor = dim**-0.5 if scale is None else scale
    if not factor > 0:
        raise ValueError(f"scale {factor}: must be positive")
    out = torch.empty_like(q) if out is None else out
    if out.shape != q.shape or out.dtype != q.dtype or out.stride(-1) != 1:
        raise ValueError("out must have the shape and dtype of q and a contiguous last axis")
    rows = as_rows(windows)
    table = window_table(rows, batch, heads, q.device)
    if past is not None:
        check_past(past, k, rows)
    real = real_rows(starts, lengths, batch, kv_len, q.device)
    if HOPPER and q.is_cuda and real is None and past is None and tiles is None and len(rows) == 1:
        from .prefill_hopper import fits_hopper, hopper_prefill

        if fits_hopper(q, k, v, out):
            return hopper_prefill(q, k, v, rows[0], factor, out)
    config = prefill_tiles(dim, q.dtype, q.device) if tiles is None else tiles
    padded = max(16, triton.next_power_of_2(dim))
    boxes = _boxes(k, v, config.keys, padded) if config.bulk else None
    # Tiles begin at multiples of their rows, which the first query may miss: one tile more, and some may be empty.
    loose = real is not None or past is not None or q_len < kv_len
    count = triton.cdiv(q_len, config.rows) + loose
    _prefill[(count * heads * batch,)](
        q,
        k,
        v,
        out,
        table,
        order_table(rows[0], group, q.device),
        *(boxes or (None, None)),
        *(real or (None, None)),
        *((None, None, None) if past is None else (past.keys, past.values, past.lengths)),
        None if past is None else int_table((tuple(past.starts), tuple(past.rings)), q.device),
        None if past is None else past.held,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *out.stride()[:3],
        *((0, 0) if past is None else past.keys.stride()[:2]),
        *((0, 0) if past is None else past.values.stride()[:2]),
        table.stride(0),
        q_len,
        kv_len,
        count,
        factor * LOG2_E,
        HEADS=heads,
        GROUP=group,
        BLOCK=BLOCK,
        SINK=SINK,
        DIM=dim,
        PADDED_DIM=padded,
        ROWS=config.rows,
        KEYS=config.keys,
        LOOSE=loose,
        RAGGED=real is not None,
        PAST=past is not None,
        RESIZED=past is not None and past.held is not None,
        BULK=boxes is not None,
        GROUPWISE=config.groupwise,
        PRECISION="ieee",
        UPCAST=needs_upcast(q),
        num_warps=config.warps,
        num_stages=config.stages,
    )
    return out
