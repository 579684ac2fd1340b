"""From windows to FlexAttention's masks.

A window counts blocks, the query's own block included: query ``q`` keeps key ``k`` iff
``k <= q and (k < SINK or k // BLOCK > q // BLOCK - window)``.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn.attention.flex_attention import BlockMask

from .constants import BLOCK, LAYERS, SINK, WINDOWS

TILE = 128
"""Queries and keys of a tile of a block mask."""

MaskMod = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def length_class(length: int) -> int:
    """The smallest length class that holds ``length`` tokens."""
    fitting = [known for known in WINDOWS if known >= length]
    if length < 1 or not fitting:
        raise ValueError(f"length {length}: the package holds windows for 1 to {max(WINDOWS)} tokens; emit it for more")
    return min(fitting)


def layer_windows(layer: int, length: int) -> tuple[int, ...]:
    """Window of every query head of a layer at its length class, in blocks."""
    if not 0 <= layer < LAYERS:
        raise ValueError(f"layer {layer}: the plan has layers 0 to {LAYERS - 1}")
    return WINDOWS[length_class(length)][layer]


@lru_cache(maxsize=4096)
def _window_table(windows: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(windows, dtype=torch.int32, device=device)


@lru_cache(maxsize=4096)
def _mask_mod(windows: tuple[int, ...], offset: int, device: torch.device) -> MaskMod:
    table = _window_table(windows, device)

    def keeps(batch: torch.Tensor, head: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        position = q + offset
        return (k <= position) & ((k < SINK) | (k // BLOCK > position // BLOCK - table[head]))

    return keeps


def mask_mod(layer: int, length: int, device: torch.device | str, offset: int = 0) -> MaskMod:
    """The mask of a layer as FlexAttention takes it. ``offset``: the position of the first query."""
    return _mask_mod(layer_windows(layer, length), offset, torch.device(device))


def kept_tiles(windows: torch.Tensor, q_len: int, kv_len: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tiles kept in part and tiles kept whole, bool [query heads, query tiles, key tiles]; windows [query heads]."""
    q_tiles, kv_tiles = -(-q_len // TILE), -(-kv_len // TILE)
    # The positions of a tile's first and last query; keys from start to end - 1.
    first = (torch.arange(q_tiles, device=windows.device) * TILE + (kv_len - q_len))[:, None]
    last = (first + TILE - 1).clamp(max=kv_len - 1)
    start = (torch.arange(kv_tiles, device=windows.device) * TILE)[None, :]
    end = start + TILE
    window = windows[:, None, None]
    near, left = ((position // BLOCK - window + 1).clamp(min=0) * BLOCK for position in (first, last))
    some = (start <= last) & ((start < SINK) | (end > near))
    # No key is after a query, and none lies between the sink and the window of the last query.
    whole = (end <= first + 1) & ((end <= SINK) | (start.clamp(min=SINK) >= left))
    return some & ~whole, some & whole


def _ordered(tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many tiles of each row are set, and which: those first, ascending. With a batch axis of 1 in front."""
    order = torch.argsort(tiles.to(torch.int32), dim=-1, descending=True, stable=True)
    return tiles.sum(-1, dtype=torch.int32)[None], order.to(torch.int32)[None]


@lru_cache(maxsize=256)
def _block_mask(windows: tuple[int, ...], q_len: int, kv_len: int, device: torch.device) -> BlockMask:
    partial, whole = kept_tiles(_window_table(windows, device), q_len, kv_len)
    mask: BlockMask = BlockMask.from_kv_blocks(
        *_ordered(partial),
        *_ordered(whole),
        BLOCK_SIZE=TILE,
        mask_mod=_mask_mod(windows, kv_len - q_len, device),
        seq_lengths=(q_len, kv_len),
    )
    return mask


def block_mask(layer: int, length: int, q_len: int, kv_len: int, device: torch.device | str) -> BlockMask:
    """The block mask of a layer for the last ``q_len`` of ``kv_len`` positions; one for all rows of a batch.

    ``length`` is N, which chooses the length class. Masks are kept: equal arguments give the same object.
    """
    if not 1 <= q_len <= kv_len:
        raise ValueError(f"{q_len} query positions need as many keys, there are {kv_len}")
    return _block_mask(layer_windows(layer, length), q_len, kv_len, torch.device(device))
