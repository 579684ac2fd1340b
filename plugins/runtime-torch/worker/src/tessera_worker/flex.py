"""Masked attention of many queries on CUDA: FlexAttention, which skips blocks that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from .windows import Reading, Windows, block_of

# FlexAttention's own block, queries and keys a side; a plan's block may differ.
BLOCK = 128

Mod = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def usable(query: torch.Tensor) -> bool:
    """For fewer queries than a block, a mask is small, and costs less than another compiled kernel."""
    return query.is_cuda and query.shape[2] >= BLOCK and query.shape[3] >= 16


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None,
    what: Reading,
    windows: Windows | None,
) -> torch.Tensor:
    """Shapes as in `attention.attend`; returns [row, query head, query, head dim]."""
    rows, heads, queries, _ = query.shape
    slots = key.shape[2]
    place = (windows, queries, slots, query.device)
    mask = what.masks.get(place)
    if mask is None:
        mask = block_mask(what, windows, rows, heads, range(slots - queries, slots), query.device)
        what.masks[place] = mask
    return cast(
        torch.Tensor,
        _compiled()(query, key, value, block_mask=mask, scale=scale, enable_gqa=heads != key.shape[1]),
    )


@cache
def _compiled() -> Callable[..., Any]:
    # One kernel for all lengths. Past the limit of kernels PyTorch would quietly materialise the scores.
    torch._dynamo.config.recompile_limit = 256
    return torch.compile(flex_attention, dynamic=True)


def block_mask(
    what: Reading,
    windows: Windows | None,
    rows: int,
    heads: int,
    queries: range,
    device: torch.device,
) -> BlockMask:
    """From arithmetic on whole blocks: the mask of each pair would take queries × keys bytes a head.

    :param queries: slots; keys are in the slots from 0 to its end.
    """
    start, slots = queries.start, queries.stop
    offsets = what.offset_tensor(device)
    if offsets is None:
        offsets = what.tensor((0,) * rows, device)
    heads_windows = None if windows is None else what.tensor(windows.heads, device)
    mask_mod = _mod(offsets, start, windows, heads_windows)

    # First and last position in each block, [row, head or 1, query block, key block].
    shift = offsets[:, None, None, None]
    low_q, high_q = (edge[:, None] - shift for edge in _edges(start, slots, device))
    low_k, high_k = (edge[None, :] - shift for edge in _edges(0, slots, device))
    some = (low_k <= high_q) & (high_k >= 0)
    whole = (high_k <= low_q) & (low_k >= 0)
    if windows is not None and heads_windows is not None:
        size, sink, width = windows.block, windows.sink, heads_windows[:, None, None]
        near = block_of(high_k, size) > block_of(low_q, size) - width
        some = some & ((low_k < sink) | near)
        all_near = block_of(low_k, size) > block_of(high_q, size) - width
        whole = whole & ((high_k < sink) | all_near)
    # Padding queries read themselves.
    queries_blocks = torch.arange(some.shape[2], device=device)[:, None] * BLOCK + start
    keys_blocks = torch.arange(some.shape[3], device=device)[None, :] * BLOCK
    diagonal = (keys_blocks < queries_blocks + BLOCK) & (keys_blocks + BLOCK > queries_blocks)
    some = some | (diagonal & (low_q < 0))
    # The mask also keeps what is past the last slot out.
    whole = whole & (keys_blocks + BLOCK <= slots)
    some = some & ~whole
    mask: BlockMask = BlockMask.from_kv_blocks(
        *_listed(some),
        *_listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(len(queries), slots),
    )
    return mask


def _mod(
    offsets: torch.Tensor, start: int, windows: Windows | None, heads_windows: torch.Tensor | None
) -> Mod:
    # A tensor: as a Python number each length would compile a kernel of its own.
    first = torch.tensor(start, dtype=torch.int32, device=offsets.device)

    def dense(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        q = q + first
        return ((k <= q) & (k >= offsets[b])) | (k == q)

    if windows is None or heads_windows is None:
        return dense
    size, sink = windows.block, windows.sink

    def planned(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        itself = k == q + first
        q, k = q + first - offsets[b], k - offsets[b]
        # Padding comes out wrong here, and is masked: a kernel's division truncates.
        near = k // size > q // size - heads_windows[h]
        return ((k <= q) & (k >= 0) & ((k < sink) | near)) | itself

    return planned


def _edges(start: int, stop: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    low = torch.arange(start, stop, BLOCK, dtype=torch.int32, device=device)
    return low, (low + (BLOCK - 1)).clamp(max=stop - 1)


def _listed(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts and indices of the key blocks of each query block."""
    count = blocks.sum(-1, dtype=torch.int32)
    return count, blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True).to(torch.int32)
