# mypy: allow-untyped-calls
"""The attention of models under a profile: dense; its backward tells the collector what influence is made of.

It is registered with transformers' `AttentionInterface`; a context variable says what it reports to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from ..errors import WorkerError
from ..refusals import refuse
from . import dense

NAME = "tessera_influence"


class Collector(Protocol):
    def check(self) -> None:
        """Called before each layer, forward and backward: raises `WorkerError` (Interrupted) to stop."""

    def collect(
        self,
        layer: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        d_o: torch.Tensor,
        lse: torch.Tensor,
        scale: float,
    ) -> None:
        """Takes q, d_o [query head, N, head dim], k, v [KV head, N, head dim] and lse [query head, N]."""


_collector: ContextVar[Collector | None] = ContextVar("tessera_influence_collector", default=None)


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Attention inside of it reports to `collector`."""
    token = _collector.set(collector)
    try:
        yield
    finally:
        _collector.reset(token)


@dataclass(frozen=True)
class _Call:
    collector: Collector
    way: dense.Dense
    layer: int
    scale: float


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, start: torch.Tensor, call: _Call
    ) -> torch.Tensor:
        of = dense.attend(call.way, q, k, v, call.scale)
        ctx.save_for_backward(q, k, v, of.out, of.lse, *of.tensors)
        ctx.call, ctx.numbers = call, of.numbers
        return of.out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (d_o,) = gradients
        call: _Call = ctx.call
        call.collector.check()
        q, k, v, out, lse, *tensors = ctx.saved_tensors
        of = dense.Attended(out, lse, tuple(tensors), ctx.numbers)
        call.collector.collect(call.layer, q[0], k[0], v[0], d_o[0], dense.log_sum_exp(of), call.scale)
        if not any(ctx.needs_input_grad[:3]):
            return None, None, None, None, None
        return *dense.differentiate(call.way, d_o, q, k, v, of, call.scale), None, None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Query [1, query head, N, head dim]; key, value [1, KV head, N, head dim].

    Returns [1, N, query head, head dim].
    """
    collector = _collector.get()
    layer = getattr(module, "layer_idx", None)
    if collector is None or not isinstance(layer, int):
        raise WorkerError(
            "Unsupported", f"{type(module).__name__} does not say which layer it is, or is not profiled"
        )
    refuse(key.shape[2], attention_mask, kwargs)
    _check_shapes(query, key, value)
    collector.check()
    heads, kv_heads = query.shape[1], key.shape[1]
    way = dense.best(query.device, query.dtype, heads, kv_heads, query.shape[3])
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    # Gradients start here: weights and embeddings have none, so the first layer's q, k and v have none.
    start = torch.zeros((), device=query.device, requires_grad=torch.is_grad_enabled())
    out: torch.Tensor = _Attention.apply(query, key, value, start, _Call(collector, way, layer, scale))
    return out.transpose(1, 2), None


def _check_shapes(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    if key.shape != value.shape or query.shape[3] != key.shape[3] or query.shape[2] != key.shape[2]:
        raise WorkerError(
            "Unsupported",
            f"queries {list(query.shape)}, keys {list(key.shape)} and values {list(value.shape)} differ in "
            "more than heads",
        )


AttentionInterface.register(NAME, attend)
