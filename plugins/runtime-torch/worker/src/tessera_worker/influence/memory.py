# mypy: allow-untyped-calls
"""Which activations a profile keeps: all, what attention gave, or the layers' inputs only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import IntEnum
from typing import Any

import torch
from torch.utils.checkpoint import create_selective_checkpoint_contexts
from transformers import PreTrainedModel

from . import dense


class Kept(IntEnum):
    """Less memory, more computing, the further down."""

    ALL = 0
    ATTENTION = 1
    INPUTS = 2


def _free(model: PreTrainedModel) -> int:
    """Bytes that activations can have."""
    devices = {p.device for p in model.parameters()}
    if any(device.type != "cuda" for device in devices):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = 0
    for device in devices:
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free += torch.cuda.mem_get_info(device)[0] + unused
    return free


def estimate(model: PreTrainedModel, tokens: int) -> list[int]:
    """Bytes that activations take, by what is kept; measured on Llama within a tenth."""
    config: Any = model.config.get_text_config()
    hidden = config.hidden_size
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    size = next(model.parameters()).element_size()
    layer = (8 * hidden + 2 * heads * head_dim + 4 * inner) * size * tokens
    layers = config.num_hidden_layers
    inputs, attended = hidden * size * tokens, heads * head_dim * size * tokens
    return [layers * layer, layers * (inputs + attended) + 2 * layer, layers * inputs + 2 * layer]


def choose(model: PreTrainedModel, tokens: int, checkpointing: bool | str) -> Kept:
    if checkpointing is False:
        return Kept.ALL
    free = 0.9 * _free(model)
    fits = [kept for kept, bytes in zip(Kept, estimate(model, tokens), strict=True) if bytes <= free]
    least = Kept.ALL if checkpointing == "auto" else Kept.ATTENTION
    return max(min(fits, default=Kept.INPUTS), least)


@contextmanager
def keeping(
    model: PreTrainedModel, kept: Kept, again: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Runs the model's layers so.

    `again` is entered where a layer is computed again, which may be on another thread.
    """
    if kept == Kept.ALL:
        yield
        return

    @contextmanager
    def both(first: AbstractContextManager[Any], second: AbstractContextManager[Any]) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(first)
            stack.enter_context(second)
            yield

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        if kept == Kept.INPUTS:
            return ExitStack(), again()
        forward, recompute = create_selective_checkpoint_contexts(dense.OPERATORS)
        return forward, both(again(), recompute)

    model.gradient_checkpointing_enable(
        {"use_reentrant": False, "context_fn": contexts, "preserve_rng_state": False}
    )
    # Layers are computed again in training mode only; what is inside of them (dropout!) stays in evaluation.
    layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    was = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, training in zip(layers, was, strict=True):
            layer.training = training
        model.gradient_checkpointing_disable()
