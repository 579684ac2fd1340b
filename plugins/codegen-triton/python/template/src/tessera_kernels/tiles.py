"""Tile shapes: how many rows and keys a program holds at once, by head dimension, type and device."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    rows: int
    """Query rows of a prefill tile."""
    keys: int
    """Keys of a tile."""
    warps: int
    stages: int


def _shared_memory(device: torch.device) -> int:
    """Bytes of shared memory one program may use."""
    if device.type != "cuda":
        return 1 << 20
    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "shared_memory_per_block_optin", 48 << 10))


def _stages(dim: int, dtype: torch.dtype, rows: int, keys: int, device: torch.device) -> int:
    """Most pipeline stages, up to 3, whose K and V tiles fit beside the query tile."""
    padded = max(16, 1 << (dim - 1).bit_length())
    budget = _shared_memory(device) * 7 // 8 - rows * padded * dtype.itemsize
    return max(1, min(3, budget // (2 * keys * padded * dtype.itemsize)))


def prefill_tiles(dim: int, dtype: torch.dtype, device: torch.device) -> Tiles:
    wide = dim > 128 or dtype == torch.float32
    rows, keys = (64, 32) if wide else (64, 64)
    return Tiles(rows, keys, 4, _stages(dim, dtype, rows, keys, device))


def needs_upcast(q: torch.Tensor) -> bool:
    """Whether dot products need float32 operands: Triton's interpreter multiplies the bit patterns of bfloat16."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16
