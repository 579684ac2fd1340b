# mypy: allow-untyped-calls
"""Dense causal attention that gives its log-sum-exp, and its backward.

Both by the fastest kernel that takes the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ..errors import WorkerError

aten: Any = torch.ops.aten

Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Attended:
    """Output [1, query head, N, head dim], log-sum-exp as the kernel gives it, what else backward takes."""

    out: torch.Tensor
    lse: torch.Tensor
    tensors: tuple[torch.Tensor | None, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dense:
    """A way to compute attention; q, k and v are [1, head, N, head dim]."""

    name: str
    #: Takes fewer KV heads than query heads as they are.
    grouped: bool
    forward: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], Attended]
    backward: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Attended, float], Gradients]
    #: The operator whose results are worth keeping when layers are computed again.
    operator: Any


def _cudnn_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Attended:
    out, lse, cum_q, cum_k, max_q, max_k, seed, offset, _ = aten._scaled_dot_product_cudnn_attention(
        q, k, v, None, True, 0.0, True, False, scale=scale
    )
    return Attended(out, lse, (cum_q, cum_k, seed, offset), (int(max_q), int(max_k)))


def _cudnn_backward(
    d_o: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, of: Attended, scale: float
) -> Gradients:
    cum_q, cum_k, seed, offset = of.tensors
    gradients: Gradients = aten._scaled_dot_product_cudnn_attention_backward(
        d_o, q, k, v, of.out, of.lse, seed, offset, None, cum_q, cum_k, *of.numbers, 0.0, True, scale=scale
    )
    return gradients


def _flash_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Attended:
    out, lse, cum_q, cum_k, max_q, max_k, seed, offset, _ = aten._scaled_dot_product_flash_attention(
        q, k, v, 0.0, True, False, scale=scale
    )
    return Attended(out, lse, (cum_q, cum_k, seed, offset), (int(max_q), int(max_k)))


def _flash_backward(
    d_o: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, of: Attended, scale: float
) -> Gradients:
    cum_q, cum_k, seed, offset = of.tensors
    gradients: Gradients = aten._scaled_dot_product_flash_attention_backward(
        d_o, q, k, v, of.out, of.lse, cum_q, cum_k, *of.numbers, 0.0, True, seed, offset, scale=scale
    )
    return gradients


def _efficient_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Attended:
    out, lse, seed, offset = aten._scaled_dot_product_efficient_attention(
        q, k, v, None, True, 0.0, True, scale=scale
    )
    return Attended(out, lse, (seed, offset))


def _efficient_backward(
    d_o: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, of: Attended, scale: float
) -> Gradients:
    wanted = [True, True, True, False]
    gradients: Gradients = aten._scaled_dot_product_efficient_attention_backward(
        d_o, q, k, v, None, of.out, of.lse, *of.tensors, 0.0, wanted, True, scale=scale
    )[:3]
    return gradients


def _cpu_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Attended:
    return Attended(*aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=scale))


def _cpu_backward(
    d_o: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, of: Attended, scale: float
) -> Gradients:
    gradients: Gradients = aten._scaled_dot_product_flash_attention_for_cpu_backward(
        d_o, q, k, v, of.out, of.lse, 0.0, True, scale=scale
    )
    return gradients


def _dense(name: str, operator: str, grouped: bool, forward: Any, backward: Any) -> Dense:
    return Dense(name, grouped, forward, backward, getattr(aten, operator).default)


CUDNN = _dense("cuDNN", "_scaled_dot_product_cudnn_attention", True, _cudnn_forward, _cudnn_backward)
FLASH = _dense("flash", "_scaled_dot_product_flash_attention", True, _flash_forward, _flash_backward)
EFFICIENT = _dense(
    "efficient", "_scaled_dot_product_efficient_attention", False, _efficient_forward, _efficient_backward
)
CPU = _dense("CPU", "_scaled_dot_product_flash_attention_for_cpu", False, _cpu_forward, _cpu_backward)
OPERATORS = [way.operator for way in (CUDNN, FLASH, EFFICIENT, CPU)]


def attend(way: Dense, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Attended:
    return way.forward(q, *_fit(way, q, k, v), scale)


def differentiate(
    way: Dense,
    d_o: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    of: Attended,
    scale: float,
) -> Gradients:
    """∂L/∂q, ∂L/∂k, ∂L/∂v in the shapes of q, k and v."""
    d_q, d_k, d_v = way.backward(d_o, q, *_fit(way, q, k, v), of, scale)
    group = d_k.shape[1] // k.shape[1]
    if group > 1:
        d_k, d_v = (x.unflatten(1, (-1, group)).sum(2) for x in (d_k, d_v))
    return d_q, d_k, d_v


def _fit(way: Dense, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    group = q.shape[1] // k.shape[1]
    if way.grouped or group == 1:
        return k, v
    return k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)


def log_sum_exp(of: Attended) -> torch.Tensor:
    """[query head, N]: kernels pad it, or leave a dimension of one."""
    heads, n = of.out.shape[1:3]
    return of.lse.reshape(heads, -1)[:, :n]


@lru_cache(maxsize=64)
def best(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int) -> Dense:
    """The first way that computes such attention forward and backward, found by trying it on a few tokens."""
    ways = [CUDNN, FLASH, EFFICIENT] if device.type == "cuda" else [CPU]
    said = []
    for way in ways:
        q, k = (
            torch.ones((1, 128, h, head_dim), device=device, dtype=dtype).transpose(1, 2)
            for h in (heads, kv_heads)
        )
        try:
            of = attend(way, q, k, k, head_dim**-0.5)
            d_q, d_k, _ = differentiate(way, of.out, q, k, k, of, head_dim**-0.5)
        except RuntimeError as error:
            said.append(f"{way.name}: {str(error).splitlines()[0]}")
            continue
        # cuDNN's operator takes float32 and reads it as float16. A mean of ones is one.
        if not torch.allclose(of.out, torch.ones_like(of.out), rtol=1e-2):
            said.append(f"{way.name}: computes something else")
        elif d_q.shape == q.shape and d_k.shape == k.shape and log_sum_exp(of).shape == (heads, 128):
            return way
    raise WorkerError(
        "Unsupported",
        f"no attention kernel takes {heads} query heads, {kv_heads} KV heads of {head_dim} in {dtype} on "
        f"{device}: {'; '.join(said)}",
    )
