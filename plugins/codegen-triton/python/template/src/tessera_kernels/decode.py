"""Sink + window attention of one new token per row: split-KV over kept keys, one K/V load per group of query heads."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from .cache import LayerCache
from .checks import check_attention
from .constants import BLOCK, SINK
from .prefill import LOG2_E
from .splits import UNIT, Division, division, work_tables
from .tables import int_table
from .tiles import needs_upcast


# One kernel for all batch sizes.
@triton.jit(do_not_specialize=["rows", "items"])
def _split(
    Q,
    K,
    V,
    OUT,
    LENGTHS,
    HELD,
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
    o_batch,
    o_head,
    rows,
    items,
    scale,
    GROUP: tl.constexpr,
    PADDED_GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    UNIT: tl.constexpr,
    CACHED: tl.constexpr,
    RESIZED: tl.constexpr,
    UNIFORM: tl.constexpr,
    DEPENDENT: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One work item of one row: its share of the KV head's kept keys, for all query heads of the group."""
    if DEPENDENT:
        tl.extra.cuda.gdc_launch_dependents()
    item = tl.program_id(0) // rows
    batch = (tl.program_id(0) % rows).to(tl.int64)
    head = tl.load(WORK + item * 8)
    split = tl.load(WORK + item * 8 + 1)
    splits = tl.load(WORK + item * 8 + 2)
    reach = tl.load(WORK + item * 8 + 3)
    length = tl.load(LENGTHS + batch).to(tl.int32)

    # Kept keys count from 0: the sink, then the window from position start on.
    block = tl.maximum(length - 1, 0) // BLOCK
    start = tl.maximum((block - reach + 1) * BLOCK, SINK)
    if RESIZED:
        start = tl.maximum(start, tl.load(HELD + batch * KV_HEADS + head))
    kept = tl.where(length > SINK, SINK + tl.maximum(length - start, 0), length)
    units = tl.cdiv(kept, UNIT)
    lo = units * split // splits * UNIT
    hi = tl.minimum(units * (split + 1) // splits * UNIT, kept)

    wide_head = head.to(tl.int64)
    k_base = K + batch * k_batch + wide_head * k_head
    v_base = V + batch * v_batch + wide_head * v_head
    shift = start - SINK
    wrap = shift
    if CACHED:
        place = tl.load(WORK + item * 8 + 4).to(tl.int64)
        ring = tl.load(WORK + item * 8 + 5)
        k_base += place * k_token
        v_base += place * v_token
        wrap = shift % ring

    member = tl.arange(0, PADDED_GROUP)
    real = member < GROUP
    heads = head * GROUP + member
    lanes = tl.arange(0, KEYS)
    dims = tl.arange(0, PADDED_DIM)
    there = real[:, None] & (dims < DIM)[None, :]
    q_at = Q + batch * q_batch + heads.to(tl.int64)[:, None] * q_head + dims[None, :]
    q = tl.load(q_at, mask=there, other=0.0)
    if UPCAST:
        q = q.to(tl.float32)
    if not UNIFORM:
        window = tl.load(WINDOWS + heads, mask=real, other=1)
        row_start = (block - window + 1) * BLOCK - shift

    acc = tl.zeros([PADDED_GROUP, PADDED_DIM], tl.float32)
    top = tl.full([PADDED_GROUP], float("-inf"), tl.float32)
    total = tl.zeros([PADDED_GROUP], tl.float32)
    for at in range(lo, hi, KEYS):
        keys = at + lanes
        inside = keys < hi
        slots = tl.where(keys < SINK, keys, keys + wrap)
        if CACHED:
            slots = tl.where(slots >= SINK + ring, slots - ring, slots)
        slots = slots.to(tl.int64)
        k_at = k_base + slots[None, :] * k_token + dims[:, None]
        k = tl.load(k_at, mask=inside[None, :] & (dims < DIM)[:, None], other=0.0)
        if UPCAST:
            k = k.to(tl.float32)
        scores = tl.dot(q, k, input_precision=PRECISION) * scale
        if UNIFORM:
            scores = tl.where(inside[None, :], scores, float("-inf"))
            new_top = tl.maximum(top, tl.max(scores, 1))
            shifted = new_top
        else:
            near = (keys < SINK)[None, :] | (keys[None, :] >= row_start[:, None])
            scores = tl.where(inside[None, :] & near, scores, float("-inf"))
            new_top = tl.maximum(top, tl.max(scores, 1))
            # A query head whose window is shorter than its group's meets tiles without kept keys.
            shifted = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.math.exp2(scores - shifted[:, None])
        decay = tl.math.exp2(top - shifted)
        v_at = v_base + slots[:, None] * v_token + dims[None, :]
        v = tl.load(v_at, mask=inside[:, None] & (dims < DIM)[None, :], other=0.0)
        if UPCAST:
            v = v.to(tl.float32)
        total = total * decay + tl.sum(weights, 1)
        acc = acc * decay[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        top = new_top

    if splits == 1:
        # A row without tokens has no keys: zeros.
        result = acc / tl.where(total == 0.0, 1.0, total)[:, None]
        o_at = OUT + batch * o_batch + heads.to(tl.int64)[:, None] * o_head + dims[None, :]
        tl.store(o_at, result.to(OUT.dtype.element_ty), mask=there)
    else:
        to = (batch * items + item) * GROUP + member
        tl.store(PARTIAL + to[:, None] * DIM + dims[None, :], acc, mask=there)
        tl.store(STATS + to * 2, top, mask=real)
        tl.store(STATS + to * 2 + 1, total, mask=real)


@triton.jit(do_not_specialize=["items", "merged"])
def _merge(
    PARTIAL,
    STATS,
    MERGED,
    OUT,
    o_batch,
    o_head,
    items,
    merged,
    GROUP: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """The splits of one query head of one row, each weighted by its share of the softmax sum."""
    member = tl.program_id(0) % GROUP
    entry = (tl.program_id(0) // GROUP) % merged
    batch = (tl.program_id(0) // GROUP // merged).to(tl.int64)
    head = tl.load(MERGED + entry * 3)
    first = tl.load(MERGED + entry * 3 + 1)
    count = tl.load(MERGED + entry * 3 + 2)
    dims = tl.arange(0, PADDED_DIM)
    lanes = tl.arange(0, SPLITS)
    acc = tl.zeros([PADDED_DIM], tl.float32)
    top = float("-inf")
    total = 0.0
    if DEPENDENT:
        tl.extra.cuda.gdc_wait()
    for at in range(0, count, SPLITS):
        inside = at + lanes < count
        to = (batch * items + first + at + lanes) * GROUP + member
        tops = tl.load(STATS + to * 2, mask=inside, other=float("-inf"))
        sums = tl.load(STATS + to * 2 + 1, mask=inside, other=0.0)
        mask = inside[:, None] & (dims < DIM)[None, :]
        parts = tl.load(PARTIAL + to[:, None] * DIM + dims[None, :], mask=mask, other=0.0)
        new_top = tl.maximum(top, tl.max(tops, 0))
        shifted = tl.where(new_top == float("-inf"), 0.0, new_top)
        decay = tl.math.exp2(top - shifted)
        weights = tl.math.exp2(tops - shifted)
        total = total * decay + tl.sum(sums * weights, 0)
        acc = acc * decay + tl.sum(parts * weights[:, None], 0)
        top = new_top
    result = acc / tl.where(total == 0.0, 1.0, total)
    o_at = OUT + batch * o_batch + (head * GROUP + member).to(tl.int64) * o_head + dims
    tl.store(o_at, result.to(OUT.dtype.element_ty), mask=dims < DIM)


def _decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor | None,
    lengths: torch.Tensor,
    windows: tuple[int, ...],
    cache: LayerCache | None,
    longest: int,
    scale: float | None,
    divided: Division | None,
    chunk: int | None,
) -> torch.Tensor:
    """k, v: [batch, KV heads or 1, slots, dim]."""
    batch, heads, dim = q.shape
    if lengths.shape != (batch,) or lengths.device != q.device:
        raise ValueError(f"lengths must be {batch} integers on {q.device}")
    out = torch.empty_like(q) if out is None else out
    if out.shape != q.shape or out.dtype != q.dtype or out.stride(-1) != 1:
        raise ValueError("out must have the shape and dtype of q and a contiguous last axis")
    kv_heads = k.shape[1] if cache is None else len(cache.layout.starts)
    group = heads // kv_heads
    if len(windows) != heads or min(windows) < 1:
        raise ValueError(f"windows must be {heads} integers ≥ 1, one per query head: every query keeps its own key")
    config = division(dim, q.dtype, q.device) if divided is None else divided
    layout = None if cache is None else cache.layout
    work = work_tables(windows, group, layout, longest, batch, config, chunk, q.device)
    items = work.items.shape[0]
    merged = work.merged
    # Float32 results of the splits; their softmax maxima and sums.
    shape = (batch, items, group, dim) if merged is not None else (1,)
    partial = torch.empty(shape, dtype=torch.float32, device=q.device)
    stats = torch.empty((*shape[:3], 2), dtype=torch.float32, device=q.device)
    padded = max(16, triton.next_power_of_2(dim))
    uniform = all(len(set(windows[at : at + group])) == 1 for at in range(0, heads, group))
    dependent = config.dependent and merged is not None
    _split[(items * batch,)](
        q,
        k,
        v,
        out,
        lengths.contiguous(),
        cache.held if cache is not None and cache.resized else None,
        None if uniform else int_table((windows,), q.device),
        work.items,
        partial,
        stats,
        *q.stride()[:2],
        *(k.stride()[:3] if cache is None else (k.stride(0), 0, k.stride(2))),
        *(v.stride()[:3] if cache is None else (v.stride(0), 0, v.stride(2))),
        *out.stride()[:2],
        batch,
        items,
        (dim**-0.5 if scale is None else scale) * LOG2_E,
        GROUP=group,
        PADDED_GROUP=max(16, triton.next_power_of_2(group)),
        KV_HEADS=kv_heads,
        BLOCK=BLOCK,
        SINK=SINK,
        DIM=dim,
        PADDED_DIM=padded,
        KEYS=config.keys,
        UNIT=UNIT,
        CACHED=cache is not None,
        RESIZED=cache is not None and cache.resized,
        UNIFORM=uniform,
        DEPENDENT=dependent,
        PRECISION="ieee",
        UPCAST=needs_upcast(q),
        num_warps=config.warps,
        num_stages=config.stages,
    )
    if merged is not None:
        _merge[(merged.shape[0] * group * batch,)](
            partial,
            stats,
            merged,
            out,
            *out.stride()[:2],
            items,
            merged.shape[0],
            GROUP=group,
            DIM=dim,
            PADDED_DIM=padded,
            SPLITS=min(32, triton.next_power_of_2(work.most)),
            DEPENDENT=dependent,
            num_warps=4,
            **({"launch_pdl": True} if dependent else {}),
        )
    return out


def windowed_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    windows: Sequence[int],
    max_length: int | None = None,
    scale: float | None = None,
    out: torch.Tensor | None = None,
    division: Division | None = None,
    chunk: int | None = None,
) -> torch.Tensor:
    """Attention of one query token per row, at position ``lengths[row] - 1``, over its sink and windows.

    q: [batch, query heads, dim]; k, v: [batch, KV heads, capacity, dim], any strides with contiguous last axis, the
    new token's key and value included. ``lengths``: int32 or int64 [batch] on the device; it is never read by the host,
    so a call can be captured in a CUDA graph after one call outside. ``windows``: blocks per query head.
    ``max_length`` (default: the capacity) only sizes the split; longer rows are still right. A row of length 0 gives
    zeros. ``division`` and ``chunk`` (most keys per program) default to `splits`. Returns ``out``, shaped as q.
    """
    grid_q, k, v = check_attention(q[:, :, None], k, v, 1)
    longest = k.shape[2] if max_length is None else max_length
    return _decode(grid_q[:, :, 0], k, v, out, lengths, tuple(windows), None, longest, scale, division, chunk)


def cached_decode(
    q: torch.Tensor,
    cache: LayerCache,
    lengths: torch.Tensor,
    max_length: int | None = None,
    scale: float | None = None,
    out: torch.Tensor | None = None,
    division: Division | None = None,
    chunk: int | None = None,
) -> torch.Tensor:
    """`windowed_decode` from a layer's cache, which holds the new token already, with the windows it was made for.

    ``max_length`` defaults to what the longest ring can hold.
    """
    grid_q, k, v = check_attention(q[:, :, None], cache.keys[:, None], cache.values[:, None], 1)
    if q.shape[1] != len(cache.windows):
        raise ValueError(f"the cache is for {len(cache.windows)} query heads, q has {q.shape[1]}")
    longest = SINK + max(cache.layout.rings) if max_length is None else max_length
    return _decode(grid_q[:, :, 0], k, v, out, lengths, cache.windows, cache, longest, scale, division, chunk)
