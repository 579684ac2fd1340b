# mypy: allow-untyped-calls
"""A model of Llama-3-8B's shape with random weights, and what profiles are compared with.

That is its forward and backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from tessera_worker.influence import memory
from tessera_worker.influence.profile import Item

BACKENDS = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def llama_8b(device: str = "cuda", **changes: Any) -> LlamaForCausalLM:
    shape: dict[str, Any] = {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rope_theta": 500000.0,
        "attn_implementation": "sdpa",
    }
    config = LlamaConfig(**{**shape, **changes})
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device=device).bfloat16()
    model.model.rotary_emb = LlamaRotaryEmbedding(config).to(device)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1)
            else:
                parameter.normal_(0, 0.02)
    model.eval().requires_grad_(False)
    return model


def item(model: LlamaForCausalLM, n: int) -> Item:
    """Random tokens of which the last eighth counts, like a response after a prompt."""
    tokens = torch.randint(0, model.config.vocab_size, (n,), generator=torch.Generator().manual_seed(n))
    return tokens.tolist(), [i >= n - n // 8 for i in range(n)]


def forward_backward(
    model: LlamaForCausalLM,
    tokens: Sequence[int],
    mask: Sequence[bool],
    *,
    backend: str,
    all_logits: bool,
    checkpointing: bool,
) -> None:
    """Cross-entropy and its gradient with respect to the embeddings as transformers does it."""
    device = model.device
    ids = torch.tensor(tokens, device=device)[None]
    counted = torch.tensor(mask, device=device).nonzero()[:, 0]
    kept = memory.Kept.INPUTS if checkpointing else memory.Kept.ALL
    x = model.get_input_embeddings()(ids).detach().requires_grad_()
    with sdpa_kernel(BACKENDS[backend]), memory.keeping(model, kept, nullcontext):
        keep = 0 if all_logits else counted - 1
        logits = model(inputs_embeds=x, use_cache=False, logits_to_keep=keep).logits[0]
        rows = logits[counted - 1] if all_logits else logits
        loss = torch.nn.functional.cross_entropy(rows.float(), ids[0, counted])
        loss.backward()
