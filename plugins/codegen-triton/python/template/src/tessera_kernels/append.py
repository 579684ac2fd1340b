"""Writes new keys and values of a layer into its cache: the sink, and what fits the rings."""

import torch
import triton
import triton.language as tl

from .constants import SINK
from .layout import Layout
from .tables import int_table


@triton.jit(do_not_specialize=["tokens", "tiles"])
def _append(
    K,
    V,
    KEYS,
    VALUES,
    PAST,
    STARTS,
    COUNTS,
    PLACES,
    k_batch,
    k_head,
    k_token,
    v_batch,
    v_head,
    v_token,
    cache_batch,
    tokens,
    tiles,
    KV_HEADS: tl.constexpr,
    SINK: tl.constexpr,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    ROWS: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """One tile of a row's tokens in one KV head. Of tokens that share a slot only the last is written."""
    tile = tl.program_id(0) % tiles
    head = (tl.program_id(0) // tiles) % KV_HEADS
    batch = (tl.program_id(0) // tiles // KV_HEADS).to(tl.int64)
    start = tl.load(PLACES + head)
    ring = tl.load(PLACES + KV_HEADS + head)
    past = tl.load(PAST + batch).to(tl.int32)
    token = tile * ROWS + tl.arange(0, ROWS)
    local = token
    count = tokens
    if RAGGED:
        local = token - tl.load(STARTS + batch).to(tl.int32)
        count = tl.load(COUNTS + batch).to(tl.int32)
    position = past + local
    written = (local >= 0) & (local < count) & ((position < SINK) | (position >= past + count - ring))
    slot = start + tl.where(position < SINK, position, SINK + (position - SINK) % ring)
    dims = tl.arange(0, PADDED_DIM)
    mask = written[:, None] & (dims < DIM)[None, :]
    wide = token.to(tl.int64)[:, None]
    wide_head = head.to(tl.int64)
    to = batch * cache_batch + slot.to(tl.int64)[:, None] * DIM + dims[None, :]
    k = tl.load(K + batch * k_batch + wide_head * k_head + wide * k_token + dims[None, :], mask=mask)
    tl.store(KEYS + to, k, mask=mask)
    v = tl.load(V + batch * v_batch + wide_head * v_head + wide * v_token + dims[None, :], mask=mask)
    tl.store(VALUES + to, v, mask=mask)


def append(
    k: torch.Tensor,
    v: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    layout: Layout,
    past: torch.Tensor,
    starts: torch.Tensor | None = None,
    counts: torch.Tensor | None = None,
) -> None:
    """Adds tokens to rows that have ``past`` int [batch] of them.

    k, v: [batch, KV heads, tokens, dim], keys after rotation; ``keys``, ``values``: [batch, slots, dim], contiguous.
    Of a padded row the ``counts[row]`` tokens from ``starts[row]`` on are real (int [batch], both or neither). Nothing
    on the host depends on device values: calls can be captured in a CUDA graph after one call outside.
    """
    batch, kv_heads, tokens, dim = k.shape
    if k.shape != v.shape or keys.shape != (batch, layout.slots, dim) or values.shape != keys.shape:
        raise ValueError(
            f"k {tuple(k.shape)}, v {tuple(v.shape)}, cached keys {tuple(keys.shape)}, values {tuple(values.shape)}: "
            f"the cache must be ({batch}, {layout.slots}, {dim})"
        )
    if not keys.is_contiguous() or not values.is_contiguous():
        raise ValueError("cached keys and values must be contiguous")
    if not k.dtype == v.dtype == keys.dtype == values.dtype or not k.device == v.device == keys.device:
        raise ValueError("new and cached keys and values must have one dtype and one device")
    if (starts is None) != (counts is None):
        raise ValueError("give both of starts and counts, or neither")
    for given in (past, starts, counts):
        if given is not None and (given.shape != (batch,) or given.device != k.device):
            raise ValueError(f"past, starts and counts must be {batch} integers on {k.device}")
    if tokens == 0:
        return
    k, v = (t if t.stride(-1) == 1 else t.contiguous() for t in (k, v))
    rows = min(32, triton.next_power_of_2(tokens))
    tiles = triton.cdiv(tokens, rows)
    _append[(batch * kv_heads * tiles,)](
        k,
        v,
        keys,
        values,
        past.contiguous(),
        None if starts is None else starts.contiguous(),
        None if counts is None else counts.contiguous(),
        int_table((layout.starts, layout.rings), k.device),
        *k.stride()[:3],
        *v.stride()[:3],
        keys.stride(0),
        tokens,
        tiles,
        KV_HEADS=kv_heads,
        SINK=SINK,
        DIM=dim,
        PADDED_DIM=triton.next_power_of_2(dim),
        ROWS=rows,
        RAGGED=starts is not None,
        num_warps=4 if tokens > 1 else 1,
    )
