"""Which keys a query reads: the one definition of PROTOCOL.md, with left padding."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .protocol import Plan


@dataclass(frozen=True)
class Windows:
    """A plan's windows in one layer."""

    block: int
    sink: int
    heads: tuple[int, ...]
    """Blocks per query head."""


@dataclass
class Reading:
    """What the rows of a batch read.

    Slots are places in the cache. Row b's first token is in slot `offsets[b]`; what is left of it is padding.
    Positions count from a row's first token, so that padding moves no block and no sink.
    """

    offsets: tuple[int, ...] | None = None
    """None: no row is padded."""
    plan: Plan | None = None
    """None: dense."""
    _tensors: dict[tuple[object, torch.device], torch.Tensor] = field(default_factory=dict)
    masks: dict[object, object] = field(default_factory=dict)
    """Block masks of the forward pass that runs; layers with equal windows share them."""

    def windows(self, layer: int) -> Windows | None:
        if self.plan is None:
            return None
        return Windows(self.plan.block, self.plan.sink, tuple(self.plan.windows[layer]))

    def offset_tensor(self, device: torch.device) -> torch.Tensor | None:
        """[row], on `device`."""
        return None if self.offsets is None else self.tensor(self.offsets, device)

    def tensor(self, values: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """The same tensor each time: a copy to a GPU waits for it."""
        key = (values, device)
        if key not in self._tensors:
            self._tensors[key] = torch.tensor(values, dtype=torch.int32, device=device)
        return self._tensors[key]

    def positions(self, start: int, length: int, device: torch.device) -> torch.Tensor:
        """Positions of the slots from `start` on, [row or 1, length]; 0 on padding."""
        slots = torch.arange(start, start + length, device=device)[None]
        offsets = self.offset_tensor(device)
        return slots if offsets is None else (slots - offsets[:, None]).clamp(min=0)


def keep(
    reading: Reading, windows: Windows | None, queries: range, keys: int, device: torch.device
) -> torch.Tensor:
    """Whether a query reads a key, [row or 1, query head or 1, query, key].

    A padding query reads itself: a row that reads nothing has no softmax.

    :param queries: slots.
    :param keys: slots, from the first on.
    """
    q = torch.arange(queries.start, queries.stop, device=device)[:, None]
    k = torch.arange(keys, device=device)[None, :]
    itself = q == k
    offsets = reading.offset_tensor(device)
    if offsets is not None:
        q, k = q - offsets[:, None, None, None], k - offsets[:, None, None, None]
    kept = k <= q
    if offsets is not None:
        kept = kept & (k >= 0)
    if windows is not None:
        heads = reading.tensor(windows.heads, device)[:, None, None]
        near = block_of(k, windows.block) > block_of(q, windows.block) - heads
        kept = kept & ((k < windows.sink) | near)
    if offsets is not None:
        kept = kept | itself
    return kept.reshape((1,) * (4 - kept.ndim) + kept.shape)


def block_of(positions: torch.Tensor, block: int) -> torch.Tensor:
    return torch.div(positions, block, rounding_mode="floor")
