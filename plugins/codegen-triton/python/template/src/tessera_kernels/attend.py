"""Attention of one layer in one step on top of a cache, which then holds the step's tokens too."""

import torch

from .cache import KVCache
from .decode import cached_decode
from .prefill import windowed_prefill


def attend(
    cache: KVCache, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None = None
) -> torch.Tensor:
    """q: [batch, query heads, tokens, dim]; k, v: [batch, KV heads, tokens, dim], rotated. Returns the shape of q.

    The step must have begun (`KVCache.advance`). One token a row is decoded, with nothing on the host depending on the
    device; more are a prefill, whose padded rows give zeros.
    """
    kept = cache.layers[layer]
    if q.shape[2] == 1:
        # The token that this one evicts is out of its window.
        cache.append(layer, k, v)
        return cached_decode(q[:, :, 0], kept, cache.lengths, None, scale)[:, :, None]
    starts, counts = cache.real or (None, None)
    past = None if cache.fresh else kept.before(cache.past)
    out = windowed_prefill(q, k, v, kept.windows, scale, starts=starts, lengths=counts, past=past)
    # What the last tokens evict is still read by the first ones.
    cache.append(layer, k, v)
    return out
