"""One layer's kernels: influence beside attention, and tile shapes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product

import torch

from tessera_worker.influence import dense, launch
from tessera_worker.influence.tiles import Tile, Tiles, tiles_for

from .inputs import Inputs, inputs
from .table import Row
from .timing import K, seconds

# Queries, keys, warps, stages.
SHAPES = [
    (128, 64, 8, 2),
    (128, 64, 8, 3),
    (128, 128, 8, 2),
    (64, 64, 4, 2),
    (64, 64, 4, 3),
    (128, 32, 8, 3),
    (128, 32, 4, 3),
    (64, 32, 4, 3),
    (128, 64, 4, 2),
]
# TMA, overlap.
WAYS = [(False, False), (True, False), (True, True)]


def kernel(options: argparse.Namespace) -> Iterator[Row]:
    """A layer of Llama-3-8B: 32 query heads, 8 KV heads of 128, bf16; blocks of 64; 4 causal products."""
    for n in options.sizes:
        yield _beside_attention(n)


def _beside_attention(n: int) -> Row:
    of, way, attended = _layer(n)
    q, k, v, d_o = (x[None] for x in (of.q, of.k, of.v, of.d_o))
    lse = dense.log_sum_exp(attended)
    row: Row = {"N": n}
    for name, absolute in (("abs", True), ("signed", False)):
        ms = _milliseconds(of, lse, absolute=absolute)
        row[f"{name} ms"] = ms
        row[f"{name} TFLOP/s"] = 4 * 128 * n * n * 32 / ms / 1e9
    forward = seconds(lambda: dense.attend(way, q, k, v, of.scale), 5)
    backward = seconds(lambda: dense.differentiate(way, d_o, q, k, v, attended, of.scale), 5)
    return {**row, f"{way.name} forward ms": 1e3 * forward, f"{way.name} backward ms": 1e3 * backward}


def tune(options: argparse.Namespace) -> Iterator[Row]:
    """Tile shapes of one pass while the other keeps its own: milliseconds of both together, at 8k."""
    of, _, attended = _layer(8 * K, options.head_dim)
    lse = dense.log_sum_exp(attended)
    base = tiles_for(torch.cuda.get_device_capability(), 2, max(64, options.head_dim))
    for (queries, keys, warps, stages), (tma, overlap) in product(SHAPES, WAYS):
        tile = Tile(queries, keys, warps, stages, tma, overlap)
        row: Row = {
            "tile": f"{queries}x{keys}",
            "warps": warps,
            "stages": stages,
            "TMA": tma,
            "overlap": overlap,
        }
        passes = {"statistics": Tiles(tile, base.sums), "sums": Tiles(base.statistics, tile)}
        for name, tiles in passes.items():
            try:
                row[f"{name} ms"] = _milliseconds(of, lse, tiles)
            except Exception as error:
                row[f"{name} ms"] = type(error).__name__
        yield row


def _layer(n: int, head_dim: int = 128) -> tuple[Inputs, dense.Dense, dense.Attended]:
    of = inputs("flat", n=n, head_dim=head_dim, kv_heads=8, group=4, dtype=torch.bfloat16, device="cuda")
    way = dense.best(of.q.device, of.q.dtype, 32, 8, head_dim)
    return of, way, dense.attend(way, of.q[None], of.k[None], of.v[None], of.scale)


def _milliseconds(of: Inputs, lse: torch.Tensor, tiles: Tiles | None = None, absolute: bool = True) -> float:
    def run() -> None:
        launch.block_sums(
            of.q, of.k, of.v, of.d_o, lse, scale=of.scale, block=64, absolute=absolute, tiles=tiles
        )

    return 1e3 * seconds(run, 9 if of.q.shape[1] <= 8 * K else 4)
