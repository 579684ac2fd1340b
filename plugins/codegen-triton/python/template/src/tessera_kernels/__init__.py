"""Attention kernels specialised to one plan of sparse attention: see README.md."""

import torch

from . import constants
from .attend import attend
from .cache import KVCache, LayerCache
from .decode import cached_decode, windowed_decode
from .past import Past
from .prefill import windowed_prefill
from .spans import density, layer_windows

__all__ = [
    "KVCache",
    "LayerCache",
    "Past",
    "attend",
    "cached_decode",
    "constants",
    "decode",
    "density",
    "layer_windows",
    "prefill",
    "windowed_decode",
    "windowed_prefill",
]


def _check_shape(q: torch.Tensor, k: torch.Tensor) -> None:
    shape = (q.shape[1], k.shape[1], q.shape[-1])
    planned = (constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM)
    if shape != planned:
        raise ValueError(f"the plan is for (query heads, KV heads, dim) {planned}, got {shape}")


def prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layer: int,
    length: int | None = None,
    scale: float | None = None,
    out: torch.Tensor | None = None,
    starts: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    past: Past | None = None,
) -> torch.Tensor:
    """Attention of a layer over a prompt, or over its next tokens after cached ones, under the plan.

    q: [batch, query heads, q_len, dim]; k, v: [batch, KV heads, kv_len, dim]. ``length`` is N in the plan's spans
    (constants.LENGTH says whether it counts the tokens to be generated); it defaults to kv_len where there is no
    ``past``. ``starts`` and ``lengths`` say which tokens of padded rows are real: see ``windowed_prefill``.
    """
    _check_shape(q, k)
    if length is None and past is not None:
        raise ValueError("after cached positions the length N must be given: the one that the cache is planned for")
    windows = layer_windows(layer, k.shape[2] if length is None else length)
    return windowed_prefill(q, k, v, windows, scale, out, starts, lengths, past)


def decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    layer: int,
    length: int,
    scale: float | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of a layer for one new token per row, under the plan.

    q: [batch, query heads, dim]; k, v: [batch, KV heads, capacity, dim]; ``lengths`` [batch] counts each row's tokens,
    the new one included. ``length`` is N in the plan's spans: the same value as for the prompt.
    """
    _check_shape(q, k)
    return windowed_decode(q, k, v, lengths, layer_windows(layer, length), length, scale, out)
