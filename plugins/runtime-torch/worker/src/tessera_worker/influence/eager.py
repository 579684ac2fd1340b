"""Block sums of influence without Triton: in tiles of queries, so that no attention matrix is whole.

It serves CPUs, float64 and blocks that are no multiple of 16. The arithmetic is the kernel's (see `kernel`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .reference import sum_blocks

#: Entries of a tile, all heads together.
TILE = 1 << 23


def _tiles(n: int, block: int, rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of queries: whole blocks, or parts of one block where `rows` is less."""
    if rows >= block:
        step = rows // block * block
        yield from ((first, min(first + step, n)) for first in range(0, n, step))
    else:
        for start in range(0, n, block):
            end = min(start + block, n)
            yield from ((first, min(first + rows, end)) for first in range(start, end, rows))


def entries(scores: torch.Tensor, d_a: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """E of whole rows, from scaled scores (−∞ where masked), ∂L/∂A and the rows' log-sum-exp [..., rows]."""
    a = torch.exp(scores - lse[..., None])
    apart = a > 0.5
    others = a.masked_fill(apart, 0)
    rest = others.sum(-1, keepdim=True)
    s = (others * d_a).sum(-1, keepdim=True)
    delta = (a * d_a).sum(-1, keepdim=True)
    # Where no entry is apart, `rest` is 1 and this is not used.
    e_apart = torch.where(rest > 0, s * ((1 - rest) / rest) - (delta - s), 0)
    return torch.where(apart, e_apart, others / (1 - others) * (delta - d_a))


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
    """As `launch.block_sums`, on any device, for any block, in float32 (float64 for float64)."""
    heads, n, dim = q.shape
    kv_heads = k.shape[0]
    group = heads // kv_heads
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    k, v = k.to(dtype), v.to(dtype)
    blocks = -(-n // block)
    sums = torch.zeros((heads, blocks, blocks), dtype=dtype, device=q.device)
    for first, end in _tiles(n, block, max(1, TILE // (heads * n))):
        rows = end - first
        d_o_tile = d_o[:, first:end]
        if not d_o_tile.any():
            continue
        shape = (kv_heads, group * rows, dim)
        scores = (q[:, first:end].to(dtype) * scale).reshape(shape) @ k[:, :end].mT
        d_a = d_o_tile.to(dtype).reshape(shape) @ v[:, :end].mT
        future = torch.ones(rows, end, dtype=torch.bool, device=q.device).triu(first + 1)
        scores = scores.view(heads, rows, end).masked_fill_(future, float("-inf"))
        e = entries(scores, d_a.view(heads, rows, end), lse[:, first:end].to(dtype))
        part = sum_blocks(e.abs_() if absolute else e, block)
        at = first // block
        sums[:, at : at + part.shape[1], : part.shape[2]] += part
    return sums
