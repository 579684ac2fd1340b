"""The plan's attention through FlexAttention."""

import torch
from torch.nn.attention.flex_attention import flex_attention

from .constants import HEAD_DIM, KV_HEADS, QUERY_HEADS
from .masks import block_mask

_compiled = torch.compile(flex_attention)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layer: int,
    length: int | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """Attention of a layer under the plan: compiled on a GPU, eager elsewhere.

    q: [batch, query heads, q_len, dim]; k, v: [batch, KV heads, kv_len, dim]. The queries are the last positions.
    ``length`` is N, which chooses the length class; it defaults to kv_len.
    """
    shape = (q.shape[1], k.shape[1], q.shape[-1])
    planned = (QUERY_HEADS, KV_HEADS, HEAD_DIM)
    if shape != planned or k.shape != v.shape:
        raise ValueError(f"the plan is for (query heads, KV heads, dim) {planned}, got {shape}, v {tuple(v.shape)}")
    q_len, kv_len = q.shape[2], k.shape[2]
    mask = block_mask(layer, kv_len if length is None else length, q_len, kv_len, q.device)
    run = _compiled if q.device.type == "cuda" else flex_attention
    result = run(q, k, v, block_mask=mask, scale=scale, enable_gqa=True)
    assert isinstance(result, torch.Tensor)
    return result
