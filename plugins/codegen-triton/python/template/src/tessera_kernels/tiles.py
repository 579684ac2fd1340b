"""Tile shapes: how many rows and keys a program holds at once, by head dimension, type and device."""

from typing import NamedTuple

import torch


class PrefillTiles(NamedTuple):
    rows: int
    """Query rows of a tile."""
    keys: int
    """Keys of a tile."""
    warps: int = 4
    stages: int = 2
    bulk: bool = False
    """Whether whole tiles of K and V come through the bulk copy engine (TMA) of sm_90 and later."""
    groupwise: bool = True
    """Whether all tiles of a KV group come before the next group's, or all heads of a tile before the next tile's."""


# By device, then padded head dimension. Two programs of 4 warps share a multiprocessor: one's products run during the
# other's exponentials.
_PREFILL: dict[str, dict[int, PrefillTiles]] = {
    "sm_90": {
        64: PrefillTiles(64, 64, stages=3, bulk=True),
        128: PrefillTiles(64, 64, stages=3),
        256: PrefillTiles(64, 32, stages=2, bulk=True),
    },
    "sm_80": {
        64: PrefillTiles(64, 64, stages=3),
        128: PrefillTiles(64, 64, stages=2),
        256: PrefillTiles(64, 32, stages=2),
    },
    "other": {
        128: PrefillTiles(64, 64, stages=3),
        256: PrefillTiles(64, 32, stages=3),
    },
}


def _device(device: torch.device) -> str:
    if device.type != "cuda" or torch.version.hip is not None:
        return "other"
    name = "sm_{}{}".format(*torch.cuda.get_device_capability(device))
    return name if name in _PREFILL else "other"


def _shared_memory(device: torch.device) -> int:
    """Bytes of shared memory one program may use."""
    if device.type != "cuda":
        return 1 << 20
    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "shared_memory_per_block_optin", 48 << 10))


def _stages(most: int, dim: int, dtype: torch.dtype, rows: int, keys: int, device: torch.device) -> int:
    """Most pipeline stages whose K and V tiles fit beside the query tile."""
    padded = max(16, 1 << (dim - 1).bit_length())
    budget = _shared_memory(device) * 7 // 8 - rows * padded * dtype.itemsize
    return max(1, min(most, budget // (2 * keys * padded * dtype.itemsize)))


def prefill_tiles(dim: int, dtype: torch.dtype, device: torch.device) -> PrefillTiles:
    shapes = _PREFILL[_device(device)]
    tiles = shapes[min(width for width in shapes if width >= dim)]
    if dtype == torch.float32:
        tiles = PrefillTiles(64, 32, stages=3)
    return tiles._replace(stages=_stages(tiles.stages, dim, dtype, tiles.rows, tiles.keys, device))


def needs_upcast(q: torch.Tensor) -> bool:
    """Whether dot products need float32 operands: Triton's interpreter multiplies the bit patterns of bfloat16."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16
