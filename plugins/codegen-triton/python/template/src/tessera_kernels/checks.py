"""Refuses what the kernels would compute wrongly."""

import torch


def check_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_len: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Checks shapes, types and devices; copies only where the last axis is not contiguous."""
    if k.shape != v.shape or k.shape[0] != q.shape[0] or k.shape[-1] != q.shape[-1]:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}: batch and dim must agree")
    if q.shape[1] % k.shape[1] != 0:
        raise ValueError(f"{q.shape[1]} query heads cannot share {k.shape[1]} KV heads evenly")
    if not 1 <= q_len <= k.shape[2]:
        raise ValueError(f"{q_len} query positions need as many keys, there are {k.shape[2]}")
    if q.shape[-1] > 256:
        raise ValueError(f"head dimension {q.shape[-1]}: the kernels go up to 256")
    if q.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise ValueError(f"{q.dtype}: use float16, bfloat16 or float32")
    if not q.dtype == k.dtype == v.dtype or not q.device == k.device == v.device:
        raise ValueError("q, k and v must have one dtype and one device")
    q, k, v = (t if t.stride(-1) == 1 else t.contiguous() for t in (q, k, v))
    return q, k, v
