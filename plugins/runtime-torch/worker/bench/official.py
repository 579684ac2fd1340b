# mypy: allow-untyped-calls
"""What MoA's own profiler computes (arXiv 2406.14909, its released code), in the same steps and precisions.

SDPA with a whole additive mask, gradients of all weights, all activations kept; then a layer at a time A is
made whole, autograd gives ∂L/∂A, and the influence is computed entry by entry in the model's precision, with
its machine epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface, LlamaForCausalLM

_records: list[dict[str, torch.Tensor]] = []
_mask: list[torch.Tensor] = []


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=_mask[0])
    record = {"q": query.detach(), "k": key.detach(), "v": value.detach()}
    out.register_hook(lambda gradient: record.update(d_o=gradient))
    _records.append(record)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register("official_moa", _attend)


def _influence(record: dict[str, torch.Tensor], mask: torch.Tensor, block: int) -> torch.Tensor:
    q, k, v, d_o = record["q"], record["k"], record["v"], record["d_o"]
    scores = q @ k.mT / q.shape[-1] ** 0.5 + mask
    a = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype).requires_grad_()
    del scores
    with torch.enable_grad():
        (g,) = torch.autograd.grad(a @ v, a, d_o)
    a = a.detach()
    mean = a * g
    e = -a * (g - mean.sum(-1, keepdim=True)) / (1 + torch.finfo(a.dtype).eps - a)
    e[..., 0, :] = -mean[..., 0, :]
    del g, mean
    e = (e.abs() * (mask == 0)).float()
    return torch.nn.functional.avg_pool2d(e[0], block) * block**2


def profile(
    model: LlamaForCausalLM, tokens: Sequence[int], mask: Sequence[bool], block: int = 64
) -> torch.Tensor:
    """[layer, query head, blocks, blocks] on the host. The model's weights need gradients."""
    _records.clear()
    ids = torch.tensor(tokens, device=model.device)[None]
    n = len(tokens)
    causal = torch.full((n, n), torch.finfo(model.dtype).min, device=model.device, dtype=model.dtype).triu(1)
    _mask[:] = [causal[None, None]]
    labels = ids.masked_fill(~torch.tensor(mask, device=model.device), -100)
    model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    sums = []
    with torch.no_grad():
        while _records:
            sums.append(_influence(_records.pop(), _mask[0], block).cpu())
    _mask.clear()
    return torch.stack(sums[::-1])


def forget() -> None:
    """Lets go of what a run that failed had recorded."""
    _records.clear()
    _mask.clear()
