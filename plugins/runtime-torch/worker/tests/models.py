"""Tiny models with random weights, in folders as a user has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from tessera_worker.models import Model, load
from tessera_worker.protocol import Load

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}

GQA = "llama, grouped heads"

CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    GQA: lambda: LlamaConfig(**SHAPE, num_key_value_heads=2),
    "llama, a KV head each": lambda: LlamaConfig(**SHAPE, num_key_value_heads=4),
    "llama, one KV head": lambda: LlamaConfig(**SHAPE, num_key_value_heads=1),
    "qwen2": lambda: Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": lambda: Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16),
    "mistral": lambda: MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=None),
    "gemma": lambda: GemmaConfig(**SHAPE, num_key_value_heads=1, head_dim=24),
    "phi3": lambda: Phi3Config(**SHAPE, num_key_value_heads=2, sliding_window=None),
    "phi": lambda: PhiConfig(**SHAPE, num_key_value_heads=4),
}


def make(folder: Path, config: PretrainedConfig) -> Path:
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    # Larger than usual, so that attention is not uniform and a wrong mask shows.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder)
    return folder


def open_model(folder: Path) -> Model:
    return load(Load(str(folder), "cpu", "float32"))
