"""Prefill through ``hopper_kernel`` on GPUs of compute capability 9.0, where shapes and addresses fit."""

from functools import lru_cache
from typing import NamedTuple

import torch
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from .constants import BLOCK, SINK
from .hopper_kernel import prefill_kernel
from .hopper_walk import ROWS

LOG2_E = 1.4426950408889634


@lru_cache(maxsize=256)
def item_table(windows: tuple[int, ...], q_len: int, kv_len: int, device: torch.device) -> torch.Tensor:
    """Items in the order of work, the longest first: int32 [items, 2].

    An item is ``head * tiles + tile``, and the head's window in blocks. Of all heads together: a KV group at a time
    keeps more of it in L2, but leaves the programs unequal, which costs more at every length measured.
    """
    rows = 2 * ROWS.value
    tiles = -(-q_len // rows)
    window = torch.tensor(windows, device=device)
    first = torch.arange(tiles, device=device)[None] * rows + kv_len - q_len
    end = (first + rows).clamp(max=kv_len)
    start = (first // BLOCK - window[:, None] + 1).clamp(min=0) * BLOCK
    keys = torch.where(start > SINK, end - start + SINK, end)
    order = torch.argsort(keys.flatten(), descending=True, stable=True)
    return torch.stack([order, window[order // tiles]], dim=1).int()


class HopperTiles(NamedTuple):
    keys: int = 128
    """Keys of a tile."""
    stages: int = 2
    """Tiles of K, and as many of V, that shared memory holds."""
    turns: bool = True
    """Whether the two consumers take turns to issue their products."""


def fits_hopper(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> bool:
    """Whether device, types, head dimension and addresses are those that the kernel is written for."""
    if q.device.type != "cuda" or torch.cuda.get_device_capability(q.device) != (9, 0):
        return False
    if q.dtype not in (torch.float16, torch.bfloat16) or q.shape[-1] not in (64, 128):
        return False
    return all(
        tensor.data_ptr() % 16 == 0 and all(stride % 8 == 0 and stride > 0 for stride in tensor.stride()[:3])
        for tensor in (q, k, v, out)
    )


def hopper_prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: tuple[int, ...],
    scale: float,
    out: torch.Tensor,
    tiles: HopperTiles | None = None,
) -> torch.Tensor:
    """``windowed_prefill`` of rows without padding or cached positions, one window per query head, where it fits."""
    tiles = HopperTiles() if tiles is None else tiles
    batch, heads, q_len, dim = q.shape
    kv_heads, kv_len = k.shape[1], k.shape[2]
    order = item_table(windows, q_len, kv_len, q.device)
    layout = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=4)

    def box(tensor: torch.Tensor, rows: int) -> TensorDescriptor:
        return TensorDescriptor(tensor, list(tensor.shape), list(tensor.stride()), [1, 1, rows, dim], layout)

    items = order.shape[0] * batch
    programs = min(items, torch.cuda.get_device_properties(q.device).multi_processor_count)
    prefill_kernel[(programs,)](
        box(q, ROWS.value),
        box(k, tiles.keys),
        box(v, tiles.keys),
        box(out, ROWS.value),
        order,
        items,
        order.shape[0],
        -(-q_len // (2 * ROWS.value)),
        q_len,
        kv_len,
        scale * LOG2_E,
        GROUP=heads // kv_heads,
        BLOCK=BLOCK,
        SINK=SINK,
        KEYS=tiles.keys,
        DIM=dim,
        STAGES=tiles.stages,
        TURNS=tiles.turns,
        num_warps=4,
        # Three warpgroups: 240 registers for each consumer, 24 for the copying warp's.
        maxnreg=168,
    )
    return out
