"""How far block sums are from float64."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product

import torch

from tessera_worker.influence import dense, eager, launch

from .inputs import KINDS, inputs
from .table import Row


def accuracy(options: argparse.Namespace) -> Iterator[Row]:
    """Relative Frobenius error of block sums against float64, the worst of the query heads."""
    n = 1000
    for dtype, head_dim, group in product((torch.bfloat16, torch.float16), (64, 96, 128, 256), (1, 4, 8)):
        row: Row = {"dtype": str(dtype)[6:], "head dim": head_dim, "group": group, "N": n}
        for kind in KINDS:
            of = inputs(kind, n=n, head_dim=head_dim, kv_heads=2, group=group, dtype=dtype, device="cuda")
            exact = of.double()
            reference = exact.lse()
            q, k = of.q[None], of.k[None]
            way = dense.best(of.q.device, dtype, q.shape[1], k.shape[1], head_dim)
            lse = dense.log_sum_exp(dense.attend(way, q, k, of.v[None], of.scale))
            for absolute in (True, False):
                want = eager.block_sums(
                    exact.q, exact.k, exact.v, exact.d_o, reference,
                    scale=of.scale, block=64, absolute=absolute,
                )  # fmt: skip
                got = launch.block_sums(
                    of.q, of.k, of.v, of.d_o, lse, scale=of.scale, block=64, absolute=absolute
                )
                error = ((got - want).norm(dim=(1, 2)) / want.norm(dim=(1, 2))).max().item()
                row[f"{kind} {'abs' if absolute else 'signed'}"] = error
        row["attention"] = way.name
        row["within 1e-5"] = max(value for value in row.values() if isinstance(value, float)) <= 1e-5
        yield row
