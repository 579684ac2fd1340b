"""Keys and values of a batch, in memory that is taken once."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class KvCacheLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [row, KV head, slot, head dim]; gives out views of the filled slots."""

    is_sliding = False
    length = 0
    """Slots that are filled."""

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capacity = capacity

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        def empty(like: torch.Tensor) -> torch.Tensor:
            rows, heads, _, dim = like.shape
            return like.new_empty(rows, heads, self.capacity, dim)

        self.keys, self.values = empty(key_states), empty(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps these rows only."""
        if self.is_initialized:
            assert self.keys is not None and self.values is not None
            self.keys = self.keys.index_select(0, rows.to(self.keys.device))
            self.values = self.values.index_select(0, rows.to(self.values.device))

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return self.capacity


class KvCache(Cache):
    """A cache of full attention in every layer.

    :param capacity: slots (tokens a row, padding included).
    """

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers=[KvCacheLayer(capacity) for _ in range(layers)])

    def select(self, rows: torch.Tensor) -> None:
        """Goes on with these of its rows [row], in this order."""
        for layer in self.layers:
            assert isinstance(layer, KvCacheLayer)
            layer.select(rows)

    def truncate(self, length: int) -> None:
        """Forgets what is in the slots from `length` on."""
        for layer in self.layers:
            assert isinstance(layer, KvCacheLayer)
            layer.length = length
