"""Masked attention in plain torch: slow, and the meaning of the kernels."""

from collections.abc import Sequence

import torch

from .constants import BLOCK, SINK


def mask(windows: Sequence[int], q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Kept pairs, bool [heads, q_len, kv_len]. The queries are the last ``q_len`` of ``kv_len`` positions."""
    q = torch.arange(kv_len - q_len, kv_len, device=device)[None, :, None]
    k = torch.arange(kv_len, device=device)[None, None, :]
    window = torch.tensor(windows, device=device)[:, None, None]
    near = k // BLOCK > q // BLOCK - window
    return (k <= q) & ((k < SINK) | near)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: Sequence[int],
    scale: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """Softmax attention over the kept pairs, computed and returned in ``dtype``.

    q: [batch, query heads, q_len, dim]; k, v: [batch, KV heads, kv_len, dim]; one window per query head.
    """
    group = q.shape[1] // k.shape[1]
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    keys = k.to(dtype).repeat_interleave(group, dim=1)
    values = v.to(dtype).repeat_interleave(group, dim=1)
    scores = q.to(dtype) @ keys.transpose(-1, -2) * factor
    kept = mask(windows, q.shape[2], k.shape[2], q.device)
    return torch.softmax(scores.masked_fill(~kept, float("-inf")), dim=-1) @ values


def padded(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: Sequence[Sequence[int]],
    starts: Sequence[int],
    lengths: Sequence[int],
    history: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scale: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """``attention`` of padded rows: tokens ``starts[row] .. starts[row] + lengths[row] - 1`` of k are real.

    Windows by row, then query head. ``history``: keys and values [KV heads, past, dim] of all positions before the
    row's first real token. Padded queries give zeros.
    """
    out = torch.zeros(q.shape, dtype=dtype, device=q.device)
    offset = k.shape[2] - q.shape[2]
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        first = max(start, offset)
        if first >= start + length:
            continue
        keys, values = (t[row, :, start : start + length] for t in (k, v))
        if history is not None:
            keys, values = (torch.cat([old, new], dim=1) for old, new in zip(history[row], (keys, values), strict=True))
        real = slice(first - offset, start + length - offset)
        exact = attention(q[row, None, :, real], keys[None], values[None], windows[row], scale, dtype)
        out[row, :, real] = exact[0]
    return out


def decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: Sequence[int],
    windows: Sequence[Sequence[int]],
    scale: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """One query token per row, at position ``lengths[row] - 1``; a row of length 0 gives zeros.

    q: [batch, query heads, dim]; k, v: [batch, KV heads, capacity, dim]; windows by row, then query head.
    """
    out = torch.zeros(q.shape, dtype=dtype, device=q.device)
    for row, length in enumerate(lengths):
        if length > 0:
            keys, values = k[row, None, :, :length], v[row, None, :, :length]
            query = q[row, None, :, None]
            out[row] = attention(query, keys, values, windows[row], scale, dtype)[0, :, 0]
    return out
