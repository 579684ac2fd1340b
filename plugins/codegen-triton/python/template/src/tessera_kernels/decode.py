"""Sink + window attention of one new token per row: split-KV over kept keys, one K/V load per group of query heads."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl

from .checks import check_attention
from .constants import BLOCK, SINK
from .prefill import LOG2_E
from .spans import decode_ranges, decode_work
from .tables import Windows, as_rows, int_table, window_table
from .tiles import decode_tiles, needs_upcast


@triton.jit
def _split(
    Q,
    K,
    V,
    LENGTHS,
    WINDOWS,
    WORK,
    PARTIAL,
    STATS,
    q_batch,
    q_head,
    k_batch,
    k_head,
    k_token,
    v_batch,
    v_head,
    v_token,
    windows_batch,
    items,
    scale,
    GROUP: tl.constexpr,
    PADDED_GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One work item of one row: its share of the KV head's kept tiles, for all query heads of the group."""
    item = tl.program_id(0) % items
    batch = (tl.program_id(0) // items).to(tl.int64)
    head = tl.load(WORK + item * 3)
    split = tl.load(WORK + item * 3 + 1)
    splits = tl.load(WORK + item * 3 + 2)
    length = tl.load(LENGTHS + batch).to(tl.int32)

    member = tl.arange(0, PADDED_GROUP)
    real = member < GROUP
    heads = head * GROUP + member
    window = tl.load(WINDOWS + batch * windows_batch + heads, mask=real, other=1)
    row_start = tl.maximum((length - 1) // BLOCK - window + 1, 0) * BLOCK
    start = tl.min(tl.where(real, row_start, length), 0)
    sink_tiles = tl.where(start > SINK, tl.cdiv(SINK, KEYS), 0)
    start = tl.where(start > SINK, start, 0)
    tiles = sink_tiles + tl.cdiv(length - start, KEYS)
    share = tl.cdiv(tiles, splits)

    lanes = tl.arange(0, KEYS)
    dims = tl.arange(0, PADDED_DIM)
    there = real[:, None] & (dims < DIM)[None, :]
    q_at = Q + batch * q_batch + heads.to(tl.int64)[:, None] * q_head + dims[None, :]
    q = tl.load(q_at, mask=there, other=0.0)
    if UPCAST:
        q = q.to(tl.float32)
    k_base = K + batch * k_batch + head.to(tl.int64) * k_head
    v_base = V + batch * v_batch + head.to(tl.int64) * v_head

    acc = tl.zeros([PADDED_GROUP, PADDED_DIM], tl.float32)
    top = tl.full([PADDED_GROUP], float("-inf"), tl.float32)
    total = tl.zeros([PADDED_GROUP], tl.float32)
    for tile in range(split * share, tl.minimum((split + 1) * share, tiles)):
        sink_tile = tile < sink_tiles
        at = tl.where(sink_tile, tile * KEYS, start + (tile - sink_tiles) * KEYS)
        end = tl.where(sink_tile, SINK, length)
        keys = at + lanes
        inside = keys < end
        offsets = keys.to(tl.int64)
        k_at = k_base + offsets[None, :] * k_token + dims[:, None]
        k = tl.load(k_at, mask=inside[None, :] & (dims < DIM)[:, None], other=0.0)
        if UPCAST:
            k = k.to(tl.float32)
        scores = tl.dot(q, k, input_precision=PRECISION) * scale
        near = (keys < SINK)[None, :] | (keys[None, :] >= row_start[:, None])
        scores = tl.where(inside[None, :] & near, scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, 1))
        # A query head whose window is shorter than its group's meets tiles without kept keys.
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.math.exp2(scores - shift[:, None])
        decay = tl.math.exp2(top - shift)
        v_at = v_base + offsets[:, None] * v_token + dims[None, :]
        v = tl.load(v_at, mask=inside[:, None] & (dims < DIM)[None, :], other=0.0)
        if UPCAST:
            v = v.to(tl.float32)
        total = total * decay + tl.sum(weights, 1)
        acc = acc * decay[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        top = new_top

    to = (batch * items + item) * GROUP + member
    tl.store(PARTIAL + to[:, None] * DIM + dims[None, :], acc, mask=there)
    tl.store(STATS + to * 2, top, mask=real)
    tl.store(STATS + to * 2 + 1, total, mask=real)


@triton.jit
def _merge(
    PARTIAL,
    STATS,
    FIRST,
    OUT,
    o_batch,
    o_head,
    items,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
):
    """The splits of one query head of one row, each weighted by its share of the softmax sum."""
    batch = (tl.program_id(0) // HEADS).to(tl.int64)
    head = tl.program_id(0) % HEADS
    begin = tl.load(FIRST + head // GROUP)
    end = tl.load(FIRST + head // GROUP + 1)
    dims = tl.arange(0, PADDED_DIM)
    acc = tl.zeros([PADDED_DIM], tl.float32)
    top = float("-inf")
    total = 0.0
    for item in range(begin, end):
        at = (batch * items + item) * GROUP + head % GROUP
        part_top = tl.load(STATS + at * 2)
        part = tl.load(PARTIAL + at * DIM + dims, mask=dims < DIM, other=0.0)
        new_top = tl.maximum(top, part_top)
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        decay = tl.math.exp2(top - shift)
        weight = tl.math.exp2(part_top - shift)
        total = total * decay + tl.load(STATS + at * 2 + 1) * weight
        acc = acc * decay + part * weight
        top = new_top
    # An empty row has no keys: zeros.
    result = acc / tl.where(total == 0.0, 1.0, total)
    to = OUT + batch * o_batch + head.to(tl.int64) * o_head + dims
    tl.store(to, result.to(OUT.dtype.element_ty), mask=dims < DIM)


def chunk_size(windows: Windows, group: int, length: int, batch: int, programs: int) -> int:
    """Kept keys per work item so that about ``programs`` items are made; a multiple of 64, at least 128."""
    heads = len(windows[0]) // group
    kept = sum(
        end - start
        for head in range(heads)
        for start, end in decode_ranges(windows[0][head * group : (head + 1) * group], length)
    )
    return max(128, -(-kept * batch // programs // 64) * 64)


@lru_cache(maxsize=4096)
def _work_tables(
    windows: Windows, group: int, length: int, batch: int, chunk: int | None, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Work items [items, 3], and where each KV head's begin [KV heads + 1]."""
    cores = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8
    size = chunk_size(windows, group, length, batch, 4 * cores) if chunk is None else chunk
    work = decode_work(windows[0], group, length, size)
    first = [0] * (len(windows[0]) // group + 1)
    for head, split, _ in work:
        if split == 0:
            first[head + 1] = first[head]
        first[head + 1] += 1
    return int_table(tuple(work), device), int_table((tuple(first),), device)


def windowed_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    windows: Sequence[int] | Sequence[Sequence[int]],
    max_length: int | None = None,
    scale: float | None = None,
    out: torch.Tensor | None = None,
    chunk: int | None = None,
) -> torch.Tensor:
    """Attention of one query token per row, at position ``lengths[row] - 1``, over its sink and windows.

    q: [batch, query heads, dim]; k, v: [batch, KV heads, capacity, dim], any strides with contiguous last axis, the
    new token's key and value included. ``lengths``: int32 or int64 [batch] on the device; it is never read by the host,
    so a call can be captured in a CUDA graph after one call outside. ``max_length`` (default: the capacity) only sizes
    the split; longer rows are still right. A row of length 0 gives zeros. Returns ``out``, shaped as q.
    """
    batch, heads, dim = q.shape
    grid_q, k, v = check_attention(q[:, :, None], k, v, 1)
    q = grid_q[:, :, 0]
    if lengths.shape != (batch,) or lengths.device != q.device:
        raise ValueError(f"lengths must be {batch} integers on {q.device}")
    out = torch.empty_like(q) if out is None else out
    if out.shape != q.shape or out.dtype != q.dtype or out.stride(-1) != 1:
        raise ValueError("out must have the shape and dtype of q and a contiguous last axis")
    kv_heads, capacity = k.shape[1], k.shape[2]
    group = heads // kv_heads
    longest = capacity if max_length is None else max_length
    rows = as_rows(windows)
    table = window_table(rows, batch, heads, q.device)
    work, first = _work_tables(rows[:1], group, longest, batch, chunk, q.device)
    items = work.shape[0]
    partial = torch.empty((batch, items, group, dim), dtype=torch.float32, device=q.device)
    stats = torch.empty((batch, items, group, 2), dtype=torch.float32, device=q.device)
    padded = max(16, triton.next_power_of_2(dim))
    config = decode_tiles(dim, q.dtype, q.device)
    _split[(items * batch,)](
        q,
        k,
        v,
        lengths,
        table,
        work,
        partial,
        stats,
        *q.stride()[:2],
        *k.stride()[:3],
        *v.stride()[:3],
        table.stride(0),
        items,
        (dim**-0.5 if scale is None else scale) * LOG2_E,
        GROUP=group,
        PADDED_GROUP=max(16, triton.next_power_of_2(group)),
        BLOCK=BLOCK,
        SINK=SINK,
        DIM=dim,
        PADDED_DIM=padded,
        KEYS=config.keys,
        PRECISION="ieee",
        UPCAST=needs_upcast(q),
        num_warps=config.warps,
        num_stages=config.stages,
    )
    _merge[(heads * batch,)](
        partial,
        stats,
        first,
        out,
        *out.stride()[:2],
        items,
        HEADS=heads,
        GROUP=group,
        DIM=dim,
        PADDED_DIM=padded,
        num_warps=4,
    )
    return out
