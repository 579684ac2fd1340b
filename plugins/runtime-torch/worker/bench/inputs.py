"""Attention inputs that are hard in known ways, for accuracy checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["flat", "sink", "peaked"]
KINDS: tuple[Kind, ...] = ("flat", "sink", "peaked")


@dataclass(frozen=True)
class Inputs:
    """q, d_o [query head, N, head dim], k, v [KV head, N, head dim]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    d_o: torch.Tensor

    @property
    def scale(self) -> float:
        return float(self.q.shape[-1] ** -0.5)

    def double(self) -> Inputs:
        return Inputs(*(x.double() for x in (self.q, self.k, self.v, self.d_o)))

    def lse(self) -> torch.Tensor:
        """Log-sum-exp of the scaled scores [query head, N]."""
        heads, n, _ = self.q.shape
        k = self.k.repeat_interleave(heads // self.k.shape[0], 0)
        future = torch.ones(n, n, dtype=torch.bool, device=k.device).triu(1)
        return torch.logsumexp((self.q @ k.mT * self.scale).masked_fill_(future, float("-inf")), -1)


def inputs(
    kind: Kind,
    *,
    n: int,
    head_dim: int,
    kv_heads: int,
    group: int,
    dtype: torch.dtype,
    device: str = "cpu",
    seed: int = 0,
) -> Inputs:
    """Strided like a model's: [N, head, head dim] in memory.

    "flat" is random; in "sink" key 0 takes up to 1 − 1e-6 of a row, in "peaked" a few keys take nearly all.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def normal(heads: int) -> torch.Tensor:
        return torch.randn(n, heads, head_dim, device=device, generator=generator)

    q, k, v, d_o = normal(kv_heads * group), normal(kv_heads), normal(kv_heads), normal(kv_heads * group)
    if kind == "peaked":
        q *= 4
    if kind == "sink":
        u = torch.zeros(head_dim, device=device)
        u[0] = 1
        q[..., 0], k[..., 0] = 0, 0
        # Scores of key 0, so that it leaves 1e-6 or more to others.
        q += (
            u
            * torch.linspace(0, 18.5, n, device=device)[
                torch.randperm(n, generator=generator, device=device)
            ][:, None, None]
        )
        k[0] = u * head_dim**0.5
    return Inputs(*(x.to(dtype).transpose(0, 1) for x in (q, k, v, d_o)))
