"""Positions that are cached already: per KV head a sink and a ring, back to back in one allocation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .constants import BLOCK, SINK


class Past(NamedTuple):
    """The cached positions of a layer.

    Position ``p`` of KV head ``h`` lies in slot ``starts[h] + p`` if ``p < SINK``, else in slot
    ``starts[h] + SINK + (p - SINK) % rings[h]``. Keys are stored after rotation.
    """

    keys: torch.Tensor
    """[batch, slots, dim]"""
    values: torch.Tensor
    """[batch, slots, dim]"""
    lengths: torch.Tensor
    """Positions cached of each row: int32 or int64 [batch] on the device."""
    starts: Sequence[int]
    """First slot of each KV head."""
    rings: Sequence[int]
    """Slots of each KV head's ring: whole blocks, at least the longest window of the head's queries."""
    held: torch.Tensor | None = None
    """First position after the sink that is still there, int32 [batch, KV heads], contiguous; None: all of the ring."""


def check_past(past: Past, k: torch.Tensor, windows: tuple[tuple[int, ...], ...]) -> None:
    """Refuses a cache that does not fit the new keys [batch, KV heads, tokens, dim] or is too short for a window."""
    batch, kv_heads, _, dim = k.shape
    if past.keys.shape != past.values.shape or past.keys.dim() != 3:
        raise ValueError(f"cached keys {tuple(past.keys.shape)} and values {tuple(past.values.shape)}: one shape of 3")
    if past.keys.shape[0] != batch or past.keys.shape[2] != dim:
        raise ValueError(f"cached keys {tuple(past.keys.shape)} do not fit keys {tuple(k.shape)}")
    if past.keys.stride(-1) != 1 or past.values.stride(-1) != 1:
        raise ValueError("cached keys and values need a contiguous last axis")
    if not past.keys.dtype == past.values.dtype == k.dtype or not past.keys.device == past.values.device == k.device:
        raise ValueError("cached keys and values must have the dtype and device of the new keys")
    if past.lengths.shape != (batch,) or past.lengths.device != k.device:
        raise ValueError(f"lengths of the past must be {batch} integers on {k.device}")
    if past.held is not None and (past.held.shape != (batch, kv_heads) or past.held.device != k.device):
        raise ValueError(f"held must be ({batch}, {kv_heads}) integers on {k.device}")
    if len(past.starts) != kv_heads or len(past.rings) != kv_heads:
        raise ValueError(f"the past needs a start and a ring for each of {kv_heads} KV heads")
    group = len(windows[0]) // kv_heads
    for head, (start, ring) in enumerate(zip(past.starts, past.rings, strict=True)):
        longest = max(max(row[head * group : (head + 1) * group]) for row in windows)
        if ring % BLOCK != 0 or ring < longest * BLOCK:
            raise ValueError(f"the ring of KV head {head}, {ring} slots, cannot hold a window of {longest} blocks")
        if start < 0 or start + SINK + ring > past.keys.shape[1]:
            raise ValueError(f"KV head {head} ends in slot {start + SINK + ring} of {past.keys.shape[1]}")
