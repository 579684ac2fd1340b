"""What results must be: transformers' own eager attention, with masks written out pair by pair."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, PreTrainedModel

from tessera_worker.protocol import Plan

_plan: list[Plan | None] = [None]


def reads(plan: Plan | None, window: int | None, q: int, k: int) -> bool:
    return k <= q and (plan is None or k < plan.sink or k // plan.block > q // plan.block - window)


def _masked(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):  # type: ignore[no-untyped-def]
    heads, length = query.shape[1], query.shape[2]
    plan = _plan[0]
    windows = [None] * heads if plan is None else plan.windows[module.layer_idx]
    positions = range(length)
    kept = torch.tensor([[[reads(plan, w, q, k) for k in positions] for q in positions] for w in windows])
    mask = torch.zeros(kept.shape).masked_fill(~kept, -torch.inf)
    groups = heads // key.shape[1]
    scores = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * scaling + mask
    out = torch.softmax(scores, -1) @ value.repeat_interleave(groups, 1)
    return out.transpose(1, 2), None


AttentionInterface.register("reference", _masked)
AttentionMaskInterface.register("reference", lambda *args, **kwargs: None)


class Reference:
    def __init__(self, folder: Path) -> None:
        def read(attention: str) -> PreTrainedModel:
            return AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation=attention
            ).eval()

        self.eager = read("eager")
        self.masked = read("reference")

    @torch.inference_mode()
    def logits(self, tokens: list[int], plan: Plan | None = None) -> torch.Tensor:
        """[token, vocabulary]; without a plan from transformers alone."""
        _plan[0] = plan
        module = self.eager if plan is None else self.masked
        return module(torch.tensor([tokens])).logits[0]

    def loss(self, prefix: list[int], continuation: list[int], plan: Plan | None = None) -> torch.Tensor:
        logits = self.logits(prefix + continuation, plan)[len(prefix) - 1 : -1]
        return functional.cross_entropy(logits, torch.tensor(continuation), reduction="none")

    def greedy(self, prompt: list[int], count: int, plan: Plan | None = None) -> list[int]:
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.logits(tokens, plan)[-1].argmax()))
        return tokens[len(prompt) :]


def tokens(seed: int, length: int, vocabulary: int = 97) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(3, vocabulary) for _ in range(length)]


def random_plan(seed: int, layers: int, heads: int, block: int = 4, longest: int = 4) -> Plan:
    draw = random.Random(seed)
    windows = [[draw.randint(1, longest) for _ in range(heads)] for _ in range(layers)]
    return Plan(block=block, sink=block * draw.randint(0, 2), windows=windows)


quiet = {"on_progress": lambda done: None, "cancelled": lambda: False}
