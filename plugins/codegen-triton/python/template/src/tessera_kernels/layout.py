"""Where a layer's cache keeps which position: per KV head a sink and a ring, back to back in one allocation.

Position ``p`` of KV head ``h`` lies in slot ``starts[h] + p`` if ``p < SINK``, else in slot
``starts[h] + SINK + (p - SINK) % rings[h]``. Positions count a row's real tokens; padding has none. Sink and rings are
whole blocks, so a block of positions is contiguous.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .constants import BLOCK, KV_HEADS, LAYERS, SINK
from .spans import layer_windows


class Layout(NamedTuple):
    """The slots of one layer, the same for every row of the batch."""

    starts: tuple[int, ...]
    """First slot of each KV head."""
    rings: tuple[int, ...]
    """Slots of each KV head's ring."""

    @property
    def slots(self) -> int:
        """Tokens that all KV heads keep together."""
        return self.starts[-1] + SINK + self.rings[-1]


def layout(windows: Sequence[int], kv_heads: int, slack: int = 0) -> Layout:
    """Rings of the longest window, in blocks, among the query heads of each KV head, and ``slack`` tokens more."""
    group = len(windows) // kv_heads
    more = -(-slack // BLOCK)
    rings = tuple((max(windows[at : at + group]) + more) * BLOCK for at in range(0, len(windows), group))
    starts = tuple(sum(SINK + ring for ring in rings[:head]) for head in range(kv_heads))
    return Layout(starts, rings)


def plan_slots(length: int) -> tuple[int, ...]:
    """Tokens that each layer keeps of a row planned for ``length``."""
    return tuple(layout(layer_windows(layer, length), KV_HEADS).slots for layer in range(LAYERS))


def positions(layout: Layout, lengths: torch.Tensor) -> torch.Tensor:
    """The newest position that each slot can hold when rows have ``lengths`` tokens; negative for none.

    int64 [batch, slots].
    """
    device = lengths.device
    slot = torch.cat([torch.arange(SINK + ring, device=device) for ring in layout.rings])
    ring = torch.cat([torch.full((SINK + ring,), ring, device=device) for ring in layout.rings])
    last = lengths.long()[:, None] - 1
    wrapped = last - (last - slot) % ring
    in_ring = torch.where((wrapped >= SINK) & (last >= SINK), wrapped, -1)
    in_sink = torch.where(slot <= last, slot, -1)
    return torch.where(slot < SINK, in_sink, in_ring)


def slots_of(layout: Layout, where: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Slots of positions of KV heads; the two broadcast."""
    starts = torch.tensor(layout.starts, device=where.device)[head]
    rings = torch.tensor(layout.rings, device=where.device)[head]
    return starts + torch.where(where < SINK, where, SINK + (where - SINK) % rings)
