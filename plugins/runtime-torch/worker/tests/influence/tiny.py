"""Tiny models with random weights, and their influence by autograd in float64."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM

from tessera_worker.influence import reference
from tessera_worker.influence.objective import Objective, losses

ITEMS = [
    ([(7 * i * i + i) % 90 for i in range(n)], [i > n // 2 and i % 3 != 1 for i in range(n)])
    for n in (45, 20, 61)
]


def tiny(dtype: torch.dtype = torch.float64, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 90, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "attention_dropout": 0.5,
        "initializer_range": 0.2,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **changes}))
    if dtype == torch.float64:
        # Llama's own norms compute in float32.
        for name in [name for name, _ in model.named_modules()]:
            if name.endswith("norm"):
                model.set_submodule(
                    name, torch.nn.RMSNorm(model.config.hidden_size, model.config.rms_norm_eps)
                )
    return model.to(dtype).eval()


#: What `_attend` does to one attention matrix, and those that it made.
change: dict[int, Any] = {}
made: dict[int, torch.Tensor] = {}


def _attend(
    module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    future = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    a = torch.softmax((q @ k.mT * scaling).masked_fill(future, -torch.inf), -1)
    if module.layer_idx in change:
        a = change[module.layer_idx](a)
    if a.requires_grad:
        a.retain_grad()
    made[module.layer_idx] = a
    return (a @ v).transpose(1, 2), None


AttentionInterface.register("tessera_test_eager", _attend)


def loss_of(
    model: LlamaForCausalLM, tokens: list[int], mask: list[bool], objective: Objective
) -> torch.Tensor:
    implementation = model.config._attn_implementation
    model.set_attn_implementation("tessera_test_eager")
    counted = torch.tensor([i for i, flag in enumerate(mask) if flag and i > 0])
    logits = model(input_ids=torch.tensor(tokens)[None], use_cache=False).logits[0, counted - 1]
    model.set_attn_implementation(implementation)
    return losses(logits, torch.tensor(tokens)[counted], objective).mean()


def influence_of(
    model: LlamaForCausalLM, tokens: list[int], mask: list[bool], objective: Objective
) -> tuple[float, list[torch.Tensor]]:
    """The loss, and E [query head, N, N] of each layer, from ∂L/∂A by autograd."""
    loss = loss_of(model, tokens, mask, objective)
    loss.backward()
    layers = []
    for layer in sorted(made):
        a = made[layer]
        assert a.grad is not None
        layers.append(reference.dropped(a.detach()[0], a.grad[0]))
    return float(loss.detach()), layers
