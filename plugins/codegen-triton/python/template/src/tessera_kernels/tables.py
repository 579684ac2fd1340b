"""Small device tables that the kernels read, made once per content and device."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from .spans import head_order

Windows = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=4096)
def int_table(rows: tuple[tuple[int, ...], ...], device: torch.device) -> torch.Tensor:
    """int32 [rows, columns]. Never write to it: it is shared between calls."""
    return torch.tensor(rows, dtype=torch.int32, device=device)


def as_rows(windows: Sequence[int] | Sequence[Sequence[int]]) -> Windows:
    """Windows by row, then query head; one row stands for all."""
    rows: list[tuple[int, ...]] = []
    plain: list[int] = []
    for item in windows:
        if isinstance(item, int):
            plain.append(item)
        else:
            rows.append(tuple(item))
    return tuple(rows) if not plain else (tuple(plain),)


def window_table(
    windows: Sequence[int] | Sequence[Sequence[int]],
    batch: int,
    heads: int,
    device: torch.device,
) -> torch.Tensor:
    """int32 [batch, heads]; a single row of windows is broadcast with stride 0."""
    rows = as_rows(windows)
    if len(rows) not in (1, batch) or any(len(row) != heads for row in rows):
        raise ValueError(f"windows must be {heads} integers, or {batch} rows of {heads}: one per query head")
    if any(window < 1 for row in rows for window in row):
        raise ValueError("a window has at least 1 block: every query keeps its own key")
    return int_table(rows, device).expand(batch, heads)


@lru_cache(maxsize=4096)
def order_table(windows: tuple[int, ...], group: int, device: torch.device) -> torch.Tensor:
    """Query heads in the order of work, int32 [1, heads]."""
    return int_table((tuple(head_order(windows, group)),), device)


def real_rows(
    starts: torch.Tensor | None,
    lengths: torch.Tensor | None,
    batch: int,
    tokens: int,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """First real token and number of real tokens of each padded row, or None where nothing is padded."""
    if starts is None and lengths is None:
        return None
    for given in (starts, lengths):
        if given is not None and (given.shape != (batch,) or given.device != device):
            raise ValueError(f"starts and lengths must be {batch} integers on {device}")
    if starts is None:
        assert lengths is not None
        return torch.zeros_like(lengths), lengths
    return starts, tokens - starts if lengths is None else lengths
