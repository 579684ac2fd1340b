"""Tessera's attention for generating and scoring, registered with transformers' `AttentionInterface`.

Dense prefill is PyTorch's fused causal attention. Under a plan, or with padding, it is FlexAttention on
CUDA, and masked fused attention elsewhere and for few queries. KV heads are never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from . import flex
from .errors import WorkerError
from .refusals import refuse
from .windows import Reading, Windows, keep

NAME = "tessera"

# Booleans of a mask that are made at once.
MASK = 1 << 26

_reading: ContextVar[Reading] = ContextVar("reading")
_observed: ContextVar[list[tuple[int, int]] | None] = ContextVar("observed", default=None)


@contextmanager
def reading(what: Reading) -> Iterator[None]:
    """What forward passes inside of it read. A context, as some models drop keyword arguments on the way."""
    token = _reading.set(what)
    what.masks.clear()
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def observed() -> Iterator[list[tuple[int, int]]]:
    """Collects (layer, query heads) of each call inside of it."""
    calls: list[tuple[int, int]] = []
    token = _observed.set(calls)
    try:
        yield calls
    finally:
        _observed.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Query [row, query head, query, head dim]; key, value [row, KV head, slot, head dim]; the last query is
    in the last slot. Returns [row, query, query head, head dim].
    """
    refuse(key.shape[2], attention_mask, kwargs)
    layer = getattr(module, "layer_idx", None)
    if not isinstance(layer, int):
        raise WorkerError(
            "Unsupported", f"{type(module).__name__} does not say which layer it is (layer_idx)"
        )
    calls = _observed.get()
    if calls is not None:
        calls.append((layer, query.shape[1]))
    what = _reading.get()
    out = _attend(query, key, value, scaling, what, what.windows(layer))
    return out.transpose(1, 2).contiguous(), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None,
    what: Reading,
    windows: Windows | None,
) -> torch.Tensor:
    rows, heads, queries, _ = query.shape
    kv_heads, slots = key.shape[1:3]
    start = slots - queries
    plain = what.offsets is None and windows is None
    if plain and start == 0:
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=heads != kv_heads
        )
    if queries == 1:
        mask = None if plain else keep(what, windows, range(start, slots), slots, query.device)
        return _decode(query, key, value, scale, mask)
    if flex.usable(query):
        return flex.attend(query, key, value, scale, what, windows)
    size = max(1, MASK // (rows * (heads if windows else 1) * slots))
    parts = []
    for begin in range(start, slots, size):
        end = min(begin + size, slots)
        # Keys after the last query of a part are none of its business.
        mask = keep(what, windows, range(begin, end), end, query.device)
        part = query[:, :, begin - start : end - start]
        parts.append(
            scaled_dot_product_attention(
                part,
                key[:, :, :end],
                value[:, :, :end],
                attn_mask=mask,
                scale=scale,
                enable_gqa=heads != kv_heads,
            )
        )
    return torch.cat(parts, dim=2)


def _decode(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """One query a row: the query heads of a KV group become queries of one head: any kernel does that."""
    rows, heads, _, dim = query.shape
    groups = key.shape[1]
    if mask is not None and mask.shape[1] > 1:
        mask = mask.reshape(mask.shape[0], groups, heads // groups, -1)
    packed = query.reshape(rows, groups, heads // groups, dim)
    if mask is not None:
        mask = mask.expand(rows, groups, heads // groups, -1)
    out = scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scale)
    return out.reshape(rows, heads, 1, -1)


AttentionInterface.register(NAME, attend)
