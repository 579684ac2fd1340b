"""How a decode step is divided among programs: tile shapes by GPU and head dimension, shares by batch and spans."""

from functools import lru_cache
from typing import NamedTuple

import torch

from .layout import Layout
from .spans import decode_ranges, decode_work
from .tables import int_table

UNIT = 16
"""Shares of kept keys are multiples of it."""


class Division(NamedTuple):
    keys: int
    """Keys of a tile, a power of two ≥ 16."""
    warps: int
    stages: int
    """Tiles in flight."""
    programs: int
    """Most programs per multiprocessor that a step is divided into, where it has fewer rows and KV heads."""
    stretch: int = 2
    """How many even shares one program may take where that saves splitting a KV head."""
    dependent: bool = False
    """Whether the merge is launched before the splits are done (programmatic dependent launch, sm_90 and later)."""


class Work(NamedTuple):
    """Device tables of a step."""

    items: torch.Tensor
    """int32 [items, 8], so that one load from memory serves all of an item: KV head, split, splits, the longest window
    of its query heads in blocks, its first slot and ring in the cache, nothing."""
    merged: torch.Tensor | None
    """int32 [split KV heads, 3]: KV head, its first item, its items. None where nothing is split."""
    most: int
    """Most splits of a KV head."""


# By compute capability, then by most head dimension, for types of 2 bytes.
DIVISIONS: dict[tuple[int, int] | None, tuple[tuple[int, Division], ...]] = {
    (8, 0): ((64, Division(64, 4, 3, 3)), (128, Division(64, 4, 3, 2)), (256, Division(32, 4, 3, 2))),
    (9, 0): ((64, Division(128, 4, 3, 2)), (128, Division(128, 8, 3, 3)), (256, Division(32, 4, 3, 2))),
    None: ((64, Division(64, 4, 2, 2)), (128, Division(32, 4, 2, 2)), (256, Division(16, 4, 2, 2))),
}


@lru_cache(maxsize=64)
def division(dim: int, dtype: torch.dtype, device: torch.device) -> Division:
    """The tile shape for a head dimension and type on a device."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    found = next(d for most, d in DIVISIONS.get(capability, DIVISIONS[None]) if dim <= most)
    return found._replace(keys=max(16, found.keys * 2 // dtype.itemsize))


def chunk_size(kept: tuple[int, ...], batch: int, programs: int, stretch: int) -> int:
    """Most kept keys per item: the least that makes no more than ``programs`` items, up to ``stretch`` even shares.

    ``kept``: keys of each KV head of a row.
    """
    even = -(-sum(kept) * batch // programs)
    chunk = max(even, 4 * UNIT)
    while chunk < stretch * even and batch * sum(-(-keys // chunk) for keys in kept) > programs:
        chunk += max(UNIT, even // 64)
    return min(-(-chunk // UNIT), -(-max(kept) // UNIT)) * UNIT


@lru_cache(maxsize=4096)
def work_tables(
    windows: tuple[int, ...],
    group: int,
    layout: Layout | None,
    length: int,
    batch: int,
    division: Division,
    chunk: int | None,
    device: torch.device,
) -> Work:
    """The items of a step over rows of up to ``length`` tokens, the largest first; without a layout K is dense."""
    reach = [max(windows[at : at + group]) for at in range(0, len(windows), group)]
    kept = tuple(sum(end - start for start, end in decode_ranges((window,), length)) for window in reach)
    cores = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
    # Shares of less than a few tiles spend more on starting and merging than they read.
    programs = max(1, min(division.programs, sum(kept) * batch // (4 * division.keys * cores)))
    size = chunk_size(kept, batch, programs * cores, division.stretch) if chunk is None else chunk
    shares = decode_work(windows, group, length, size)
    splits = {head: count for head, _, count in shares}
    shares.sort(key=lambda share: (-kept[share[0]] / share[2], share))
    place = [(0, 0)] * len(reach) if layout is None else list(zip(layout.starts, layout.rings, strict=True))
    items = tuple((head, split, of, reach[head], *place[head], 0, 0) for head, split, of in shares)
    merged = tuple((head, at, of) for at, (head, split, of) in enumerate(shares) if split == 0 and of > 1)
    return Work(int_table(items, device), int_table(merged, device) if merged else None, max(splits.values()))
