# mypy: allow-untyped-calls
"""Influence by its definition, for small sizes: whole attention matrices, a row again without each key."""

from __future__ import annotations

import torch


def dropped(a: torch.Tensor, d_a: torch.Tensor) -> torch.Tensor:
    """E [..., N, N]: the row without a key, renormalised, minus the row itself, times ∂L/∂A.

    What the other keys hold is summed without the key: taken from the row's sums it would lose every digit
    where A is near 1. The first row, whose only key has no others, is 0.
    """
    n = a.shape[-1]
    e = torch.zeros_like(a)
    for j in range(n):
        others = torch.arange(n, device=a.device) != j
        rest = a[..., others].sum(-1)
        mean = (a[..., others] * d_a[..., others]).sum(-1) / rest
        e[..., j] = torch.where(rest > 0, a[..., j] * (mean - d_a[..., j]), 0)
    return e


def entries(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, d_o: torch.Tensor, scale: float
) -> torch.Tensor:
    """E [query head, N, N] of causal attention; k and v have one head a group of query heads."""
    group = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    future = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).triu(1)
    a = torch.softmax((q @ k.mT * scale).masked_fill(future, float("-inf")), -1)
    return dropped(a, d_o @ v.mT)


def sum_blocks(e: torch.Tensor, block: int) -> torch.Tensor:
    """[..., rows, columns] → sums over block × block tiles; the last ones may be partial."""
    rows, columns = e.shape[-2:]
    padded = torch.nn.functional.pad(e, (0, -columns % block, 0, -rows % block))
    parts = padded.unflatten(-1, (-1, block)).unflatten(-3, (-1, block))
    sums: torch.Tensor = parts.sum((-1, -3))
    return sums
