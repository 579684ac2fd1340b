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
    out = _prefill(cache, layer, q, k, v, scale)
    # What the last tokens evict is still read by the first ones.
    cache.append(layer, k, v)
    return out


def _prefill(
    cache: KVCache, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None
) -> torch.Tensor:
    out = torch.zeros_like(q)
    kept = cache.layers[layer]
    past = cache.past.tolist()
    starts, counts = (t.tolist() for t in cache.real) if cache.real else ([0] * len(past), [q.shape[2]] * len(past))
    for row, (before, first, count) in enumerate(zip(past, starts, counts, strict=True)):
        if count == 0:
            continue
        new = slice(first, first + count)
        keys, values = k[row, None, :, new], v[row, None, :, new]
        if before:
            old_keys, old_values = kept.dense(before)
            keys, values = torch.cat([old_keys[row, None], keys], 2), torch.cat([old_values[row, None], values], 2)
        out[row, None, :, new] = windowed_prefill(q[row, None, :, new], keys, values, kept.windows, scale)
    return out
