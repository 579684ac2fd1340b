"""The plan's KV cache as transformers' `Cache`: what `generate` keeps between steps, turns and beams."""

import copy
import weakref
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from .cache import KVCache
from .constants import LAYERS, LENGTH

OWNER = "_tessera_cache"
"""Attribute of a layer's new keys that says which cache they are for."""


def real_tokens(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First real token and number of real tokens of each row, int32 [batch], of a padding mask [batch, tokens].

    Waits for the device; refuses rows with padding between their tokens.
    """
    real = mask.int()
    begins = real[:, 0] + (real.diff(dim=1) > 0).sum(1)
    if bool((begins > 1).any()):
        raise ValueError("a row has padding between its tokens; put it before or after them")
    return real.argmax(1).int(), real.sum(1, dtype=torch.int32)


class PlanLayer(CacheLayerMixin):
    """One layer of a `PlanCache`. It hands new keys and values on as they are: attention puts them into the cache."""

    is_compileable = False
    is_croppable = True
    is_sliding = False

    def __init__(self, owner: "PlanCache") -> None:
        super().__init__()
        # Not a cycle: the memory of a dropped cache is free at once.
        self._owner = weakref.ref(owner)

    @property
    def owner(self) -> "PlanCache":
        owner = self._owner()
        assert owner is not None
        return owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """The cache is made when its first step begins."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        setattr(key_states, OWNER, self.owner)
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.owner.columns

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.columns + query_length, 0

    def get_max_length(self) -> int:
        return -1


class PlanCache(Cache):
    """Keys and values that the plan keeps, for `past_key_values` (`cache`) of a patched model.

    Rows may be padded on either side, differently in each turn. A column is a token of the input, padding included;
    positions in spans count real tokens only.
    """

    def __init__(
        self, length: int | None = None, step: int | None = None, slack: int = 0, end: int | None = None
    ) -> None:
        """``length``: N of the plan's spans, by default the longest row of the first step, and for a plan whose N
        counts new tokens those up to ``end`` columns. ``step``, ``slack``: see `KVCache`.
        """
        super().__init__(layers=[PlanLayer(self) for _ in range(LAYERS)])
        self.planned, self.step, self.slack, self.end = length, step, slack, end
        self.columns = 0
        """Tokens of the input so far, padding included."""
        self.kv: KVCache | None = None
        """Made when the first step begins."""

    def begin(self, keys: torch.Tensor, mask: torch.Tensor | None) -> KVCache:
        """Begins a forward pass over new tokens of keys [batch, KV heads, tokens, dim].

        ``mask``: [batch, columns], which of all tokens so far are real; None: all.
        """
        batch, _, tokens, _ = keys.shape
        real = None if mask is None else self._real(mask, tokens)
        if self.kv is None:
            longest = tokens if real is None else int(real[1].max())
            self.kv = KVCache(batch, self.plan(longest, tokens), keys.dtype, keys.device, self.slack, self.step)
        elif self.kv.lengths.shape[0] != batch:
            raise ValueError(f"the cache holds {self.kv.lengths.shape[0]} rows, the input has {batch}")
        else:
            self.kv.reserve(self.columns + tokens)
        if real is None:
            self.kv.advance(tokens)
        else:
            self.kv.advance(real[1], real[0])
        self.columns += tokens
        return self.kv

    def plan(self, longest: int, tokens: int) -> int:
        """N for a prompt of so many columns whose longest row has ``longest`` tokens."""
        if self.planned is not None:
            return self.planned
        if LENGTH == "prompt" or self.step is not None:
            return longest
        if self.end is None:
            raise ValueError(
                "the plan's N counts the tokens to be generated: say how many are planned for in all, "
                "patch(model, length=...), or call model.generate with max_new_tokens"
            )
        return longest + self.end - tokens

    def _real(self, mask: torch.Tensor, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """First real token and number of real tokens of each row of the new ones."""
        if mask.shape[1] != self.columns + tokens:
            raise ValueError(
                f"the attention mask has {mask.shape[1]} columns; {self.columns} are cached and {tokens} are new"
            )
        if tokens == 1:
            counts = mask[:, -1].int()
            return torch.zeros_like(counts), counts
        if self.kv is not None:
            masked = mask[:, :-tokens].sum(1)
            if bool((masked != self.kv.lengths).any()):
                raise ValueError(
                    f"the attention mask has {masked.tolist()} real tokens in the cached columns, the cache holds "
                    f"{self.kv.lengths.tolist()}; give the mask that the earlier turns had, extended by ones"
                )
        return real_tokens(mask[:, -tokens:])

    def fork(self, rows: torch.Tensor) -> None:
        """Goes on with these rows, int [new batch], which may repeat."""
        if self.kv is not None:
            self.kv.fork(rows.to(self.kv.lengths.device))

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self.fork(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.kv is not None:
            rows = torch.arange(self.kv.lengths.shape[0], device=self.kv.lengths.device)
            self.fork(rows.repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self.fork(indices)

    def crop(self, tokens_to_remove: int) -> None:
        """Takes back the newest ``-tokens_to_remove`` columns, or all but ``tokens_to_remove`` where that is positive.

        See `KVCache.truncate` for what a ring cannot take back; ``slack`` makes room.
        """
        removed = -tokens_to_remove if tokens_to_remove <= 0 else max(self.columns - tokens_to_remove, 0)
        if self.kv is not None and removed > 0:
            self.kv.truncate([length - removed for length in self.kv.lengths.tolist()])
            self.columns -= removed

    def reset(self) -> None:
        """Forgets all tokens and the length that was planned for."""
        self.kv, self.columns = None, 0

    def bytes(self) -> int:
        """Bytes of keys and values."""
        return 0 if self.kv is None else self.kv.bytes()

    def __deepcopy__(self, memo: dict[int, Any]) -> "PlanCache":
        twin = PlanCache(self.planned, self.step, self.slack, self.end)
        twin.columns, twin.kv = self.columns, copy.deepcopy(self.kv, memo)
        return twin
