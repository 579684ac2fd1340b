"""An item of a whole model, beside its forward and backward pass and beside MoA's own way."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from transformers import LlamaForCausalLM

from tessera_worker.influence.profile import Item, profile
from tessera_worker.influence.sums import Keep

from . import official
from .model import BACKENDS, forward_backward, item, llama_8b
from .table import Row
from .timing import K, measured


def model(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds an item of Llama-3-8B's shape, beside its forward and backward pass with frozen weights."""
    llama = llama_8b()
    for n in options.sizes:
        one = item(llama, n)
        checkpointing, repeats = n > 8 * K, 5 if n <= 8 * K else 2 if n <= 16 * K else 1
        row: Row = {"N": n, "checkpointed": checkpointing}
        influence = partial(_profile, llama, one, options.keep, checkpointing)
        row["influence s"], row["peak GiB"] = measured(influence, repeats)
        for name in ("counted logits", "all logits"):
            if name == "all logits" and n > 32 * K:
                continue
            best = _fastest(llama, one, name == "all logits", checkpointing, repeats)
            row[f"{name}: fwd+bwd s"], row[f"{name}: GiB"], way = best or (None, None, None)
            if best is not None and row["influence s"] is not None:
                row[f"{name}: ratio"] = row["influence s"] / best[0]
                row["attention"] = way
        yield row


def _profile(llama: LlamaForCausalLM, one: Item, keep: Keep, checkpointing: bool) -> None:
    for _ in profile(
        llama, [one], objective="cross-entropy", block=64, sum="abs", keep=keep, sink=64,
        checkpointing=checkpointing,
    ):  # fmt: skip
        pass


def _fastest(
    llama: LlamaForCausalLM, one: Item, all_logits: bool, checkpointing: bool, repeats: int
) -> tuple[float, float | None, str] | None:
    """Seconds, peak GiB and attention of the fastest forward and backward pass; None where all ran out."""
    best: tuple[float, float | None, str] | None = None
    for backend in BACKENDS if len(one[0]) <= 8 * K else ["cuDNN"]:
        run = partial(
            forward_backward, llama, *one, backend=backend, all_logits=all_logits, checkpointing=checkpointing
        )
        took, peak = measured(run, repeats)
        if took is not None and (best is None or took < best[0]):
            best = (took, peak, backend)
    return best


def official_way(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds an item of the official arithmetic, weight gradients on, nothing checkpointed."""
    llama = llama_8b(attn_implementation="official_moa")
    llama.requires_grad_(True)
    for n in [n for n in options.sizes if n <= 8 * K] + [12 * K]:
        took, peak = measured(partial(official.profile, llama, *item(llama, n)), 2 if n <= 4 * K else 1)
        official.forget()
        llama.zero_grad()
        yield {"N": n, "official s": took, "peak GiB": peak}
        if took is None:
            return
