"""Block sums as attention's backward makes them, on each layer's device until an item (or all) is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from ..errors import interrupted
from . import eager

Keep = Literal["blocks", "windows"]
Sum = Literal["signed", "abs"]


def block_sums(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    d_o: torch.Tensor,
    lse: torch.Tensor,
    *,
    scale: float,
    block: int,
    absolute: bool,
) -> torch.Tensor:
    """[query head, blocks, blocks], by the kernel where it can (see `launch.block_sums`)."""
    if q.is_cuda:
        from . import launch

        if launch.supports(q.dtype, q.shape[-1], block):
            return launch.block_sums(q, k, v, d_o, lse, scale=scale, block=block, absolute=absolute)
    return eager.block_sums(q, k, v, d_o, lse, scale=scale, block=block, absolute=absolute)


def window_sums(sums: torch.Tensor, block: int, sink: int) -> torch.Tensor:
    """D(w) for w = 0 … blocks [query head, blocks + 1]: what a window of w blocks beside the sink drops.

    It sums block sums [query head, query block, key block] with key block ≥ sink / block and query block −
    key block ≥ w.
    """
    heads, blocks = sums.shape[:2]
    kept = torch.tril(sums).clone()
    kept[:, :, : -(-sink // block)] = 0
    # Row i shifted so that its column is the distance to the query block: a diagonal's sum is a column's.
    shifted = (
        torch.nn.functional.pad(kept.flip(2), (1, 0))
        .reshape(heads, -1)[:, blocks:]
        .view(heads, blocks, blocks)
    )
    by_distance = shifted.to(torch.float64).sum(1)
    tails = by_distance.flip(1).cumsum(1).flip(1).to(sums.dtype)
    return torch.nn.functional.pad(tails, (0, 1))


class Sums:
    """The collector of one item after another. Values of layer l are `layers[l]`, on its device."""

    def __init__(self, *, block: int, sum: Sum, keep: Keep, sink: int, cancelled: Callable[[], bool]) -> None:
        self.block, self.absolute, self.keep, self.sink = block, sum == "abs", keep, sink
        self.cancelled = cancelled
        self.layers: dict[int, torch.Tensor] = {}
        self._item: dict[int, torch.Tensor] = {}

    def check(self) -> None:
        if self.cancelled():
            raise interrupted()

    def collect(
        self,
        layer: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        d_o: torch.Tensor,
        lse: torch.Tensor,
        scale: float,
    ) -> None:
        block = min(self.block, q.shape[1])
        sums = block_sums(q, k, v, d_o, lse, scale=scale, block=block, absolute=self.absolute)
        self._item[layer] = sums if self.keep == "blocks" else window_sums(sums, block, self.sink)

    def drop_item(self) -> None:
        """Forgets an item whose pass failed half-way."""
        self._item.clear()

    def add_item(self) -> None:
        """Adds the item that was collected to `layers`; the longest decides the shape."""
        for layer, values in self._item.items():
            have = self.layers.get(layer)
            if have is None:
                self.layers[layer] = values
                continue
            if have.shape[-1] < values.shape[-1]:
                have, values = values, have
            have[tuple(slice(size) for size in values.shape)] += values
            self.layers[layer] = have
        self._item.clear()

    def take(self) -> list[torch.Tensor]:
        """The layers' values, in order, on the host; what was collected is gone."""
        taken = [self.layers[layer] for layer in sorted(self.layers)]
        self.layers = {}
        return to_host(taken)


def to_host(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    copies = []
    for tensor in tensors:
        if tensor.is_cuda:
            copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            copies.append(copy.copy_(tensor, non_blocking=True))
        else:
            copies.append(tensor)
    for device in {tensor.device for tensor in tensors if tensor.is_cuda}:
        torch.cuda.synchronize(device)
    return copies
