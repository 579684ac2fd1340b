"""Tile shapes of the two passes of the influence kernel, by GPU, element size and head dimension."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """One program: `queries` rows against `keys` columns at a time."""

    queries: int
    keys: int
    warps: int
    stages: int
    #: Keys and values come by the tensor memory accelerator (Hopper and later) rather than by address.
    tma: bool = False
    #: The products of the next tile run beside the arithmetic of this one.
    overlap: bool = False


@dataclass(frozen=True)
class Tiles:
    """The tile of the pass for row statistics and of the pass for block sums."""

    statistics: Tile
    sums: Tile


def _same(tile: Tile) -> Tiles:
    return Tiles(tile, tile)


# 16-bit elements, by head dimension rounded up to a power of two. Measured on H100 and H200.
_HOPPER = {
    64: _same(Tile(128, 64, 8, 3, tma=True)),
    128: _same(Tile(128, 32, 8, 3)),
    256: _same(Tile(64, 64, 4, 2, tma=True)),
}
# Less shared memory: 100 KiB a program.
_OTHER = {
    64: _same(Tile(64, 64, 4, 2)),
    128: _same(Tile(64, 32, 4, 2)),
    256: _same(Tile(32, 32, 4, 1)),
}
# 32-bit elements go without tensor cores.
_FLOAT32 = {64: _same(Tile(32, 32, 4, 1)), 128: _same(Tile(32, 32, 4, 1)), 256: _same(Tile(16, 16, 4, 1))}


def tiles_for(capability: tuple[int, int], element_bytes: int, head_dim: int) -> Tiles:
    """The tiles for a device; `head_dim` is the padded one, a power of two from 64 to 256."""
    if element_bytes == 4:
        return _FLOAT32[head_dim]
    return (_HOPPER if capability >= (9, 0) else _OTHER)[head_dim]
