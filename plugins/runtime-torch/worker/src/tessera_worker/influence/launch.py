# mypy: allow-untyped-calls
"""Launches the influence kernel: which tiles, how matrices are passed, and blocks from cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import triton  # type: ignore[import-untyped]
from triton.tools.tensor_descriptor import TensorDescriptor  # type: ignore[import-untyped]

from .kernel import cell_sums, row_statistics
from .tiles import Tile, Tiles, tiles_for

INTERPRETED: bool = triton.knobs.runtime.interpret

CELL_QUERIES = 16
LOG2_E = 1.4426950408889634


def _operand(matrix: torch.Tensor, tile: Tile, padded: int) -> tuple[Any, int, int]:
    """Keys or values as the kernel takes them, and their strides."""
    if not tile.tma:
        return matrix, matrix.stride(0), matrix.stride(1)
    shape, strides = list(matrix.shape), list(matrix.stride())
    return TensorDescriptor(matrix, shape, strides, [1, tile.keys, padded]), 0, 0


def _tma_ready(matrix: torch.Tensor) -> bool:
    size = matrix.element_size()
    return matrix.data_ptr() % 16 == 0 and all(stride * size % 16 == 0 for stride in matrix.stride()[:-1])


def supports(dtype: torch.dtype, head_dim: int, block: int) -> bool:
    """Whether the kernel computes such sums; the eager way computes all."""
    known = dtype in (torch.float32, torch.bfloat16, torch.float16)
    return known and head_dim <= 256 and block % CELL_QUERIES == 0


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
    tiles: Tiles | None = None,
) -> torch.Tensor:
    """Sums of E or |E| over block × block tiles [query head, blocks, blocks], zero above the diagonal.

    In float32.

    Args:
        q: queries [query head, N, head dim], in bf16, fp16 or fp32.
        k, v: keys and values [KV head, N, head dim].
        d_o: gradient of the loss with respect to the attention's output, like `q`.
        lse: log-sum-exp of the scaled scores [query head, N], natural, float32.
        scale: factor of the scores.
        block: tokens a side, a multiple of 16.
        absolute: sums |E| rather than E.
        tiles: tile shapes; default: those for the device.
    """
    heads, n, dim = q.shape
    q, k, v, d_o = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v, d_o))
    lse = lse.contiguous()
    padded = max(64, triton.next_power_of_2(dim))
    if tiles is None:
        capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else (9, 0)
        tiles = tiles_for(capability, q.element_size(), padded)
    if INTERPRETED and q.dtype == torch.bfloat16:
        # The interpreter multiplies the bits of bf16.
        q, k, v, d_o = (x.float() for x in (q, k, v, d_o))
    blocks = triton.cdiv(n, block)
    cell = min(block & -block, tiles.sums.keys)
    shape = (heads, blocks * block // CELL_QUERIES, blocks * block // cell)
    cells = torch.zeros(shape, device=q.device, dtype=torch.float32)
    delta, apart = torch.empty((2, heads, n), device=q.device, dtype=torch.float32)
    strides = (q.stride(0), q.stride(1))
    fixed: dict[str, Any] = {
        "GROUP": heads // k.shape[0],
        "D": padded,
        "EXACT": padded == dim,
        "FAST": not INTERPRETED,
        "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
    }

    def arguments(tile: Tile) -> tuple[list[Any], list[int], dict[str, Any]]:
        tma = tile.tma and _tma_ready(k) and _tma_ready(v)
        tile = replace(tile, tma=tma)
        (k_at, *k_strides), (v_at, *v_strides) = _operand(k, tile, padded), _operand(v, tile, padded)
        options = {
            "BM": tile.queries,
            "BN": tile.keys,
            "TMA": tma,
            "OVERLAP": tile.overlap,
            "num_warps": tile.warps,
            "num_stages": tile.stages,
        }
        return (
            [q, k_at, v_at, d_o, lse, delta, apart],
            [*strides, *k_strides, *v_strides, *d_o.stride()[:2]],
            options,
        )

    with torch.cuda.device_of(q):
        tensors, numbers, options = arguments(tiles.statistics)
        grid = (heads, triton.cdiv(n, tiles.statistics.queries))
        row_statistics[grid](*tensors, *numbers, n, dim, scale * LOG2_E, **options, **fixed)
        tensors, numbers, options = arguments(tiles.sums)
        grid = (heads, triton.cdiv(n, tiles.sums.queries))
        extent = cells.shape[1:]
        cell_sums[grid](
            *tensors,
            cells,
            *numbers,
            n,
            dim,
            *extent,
            scale * LOG2_E,
            CELL=cell,
            ABS=absolute,
            **options,
            **fixed,
        )
    return cells.view(heads, blocks, block // CELL_QUERIES, blocks, block // cell).sum((2, 4))
