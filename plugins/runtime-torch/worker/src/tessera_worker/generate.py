"""Generation in batches: left-padded prompts, one cache a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from .cache import KvCache
from .errors import WorkerError, interrupted
from .models import Model
from .protocol import Plan
from .sampling import Sampler, Sampling
from .windows import Reading

# Tokens (padding and new ones included) of a batch where the caller states no number.
BATCH_TOKENS = {"cuda": 1 << 16, "cpu": 1 << 13}


@dataclass(frozen=True)
class Prompt:
    tokens: list[int]
    max_new: int
    stop: frozenset[int]
    sampling: Sampling | None
    plan: int | None
    """An index into the plans; None: dense."""


@dataclass(frozen=True)
class Generation:
    tokens: list[int]
    """New ones only, the one that ended it included."""
    ended: Literal["stop", "length"]


def generate(
    model: Model,
    prompts: Sequence[Prompt],
    plans: Sequence[Plan],
    *,
    batch_tokens: int | None,
    on_progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> tuple[list[Generation], int]:
    """Results in the order of the prompts, and how often memory ran out and a batch was halved.

    :param on_progress: gets the count of finished prompts.

    Raises `WorkerError`: InvalidRequest, OutOfMemory, Interrupted, Execution.
    """
    check(model, prompts, plans)
    results: dict[int, Generation] = {}

    def finish(index: int, generation: Generation) -> None:
        results[index] = generation
        on_progress(len(results))

    retries = 0
    waiting = batches(prompts, batch_tokens or BATCH_TOKENS[model.device.type])
    while waiting:
        batch = [index for index in waiting.pop(0) if index not in results]
        if not batch:
            continue
        plan = prompts[batch[0]].plan
        try:
            rows = [prompts[index] for index in batch]
            run_batch(
                model,
                rows,
                None if plan is None else plans[plan],
                lambda row, generation, batch=batch: finish(batch[row], generation),  # type: ignore[misc]
                cancelled,
            )
            continue
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                prompt = prompts[batch[0]]
                raise WorkerError(
                    "OutOfMemory",
                    f"prompt {batch[0]} ({len(prompt.tokens)} tokens, {prompt.max_new} new) does not fit the "
                    f"device's memory alone; use a shorter one, or a smaller dtype ({error})",
                ) from error
        # Outside of the except clause, whose traceback holds the batch's tensors.
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
        retries += 1
        half = len(batch) // 2
        waiting = [batch[:half], batch[half:], *waiting]
    return [results[index] for index in range(len(prompts))], retries


def check(model: Model, prompts: Sequence[Prompt], plans: Sequence[Plan]) -> None:
    """Raises `WorkerError` (InvalidRequest)."""
    for index, plan in enumerate(plans):
        model.check_plan(plan, f"plan {index}")
    for index, prompt in enumerate(prompts):
        where = f"prompt {index}"
        if not prompt.tokens:
            raise WorkerError("InvalidRequest", f"{where} is empty; begin it with the begin-of-text token")
        if prompt.max_new < 1:
            raise WorkerError("InvalidRequest", f"{where}: maxNewTokens is {prompt.max_new}; give 1 or more")
        if prompt.sampling is not None and not prompt.sampling.temperature > 0:
            raise WorkerError(
                "InvalidRequest",
                f"{where}: the temperature is {prompt.sampling.temperature}; give a positive one, or null "
                "for greedy",
            )
        if prompt.sampling is not None and not 0 < prompt.sampling.top_p <= 1:
            raise WorkerError(
                "InvalidRequest",
                f"{where}: topP is {prompt.sampling.top_p}; give one above 0 and up to 1",
            )
        if prompt.plan is not None and not 0 <= prompt.plan < len(plans):
            raise WorkerError(
                "InvalidRequest", f"{where}: plan {prompt.plan} is none of the {len(plans)} plans"
            )
        model.check_tokens(where, prompt.tokens, prompt.max_new)


def batches(prompts: Sequence[Prompt], budget: int) -> list[list[int]]:
    """Indices of prompts that run together: of one plan, of like length, rows × slots within the budget."""

    def place(index: int) -> tuple[int, int, int]:
        prompt = prompts[index]
        return (-1 if prompt.plan is None else prompt.plan, -len(prompt.tokens), -prompt.max_new)

    found: list[list[int]] = []
    longest = new = 0
    for index in sorted(range(len(prompts)), key=place):
        prompt = prompts[index]
        batch = found[-1] if found else []
        new = max(new, prompt.max_new)
        fits = (len(batch) + 1) * (longest + new) <= budget
        if batch and fits and prompts[batch[0]].plan == prompt.plan:
            batch.append(index)
        else:
            found.append([index])
            longest, new = len(prompt.tokens), prompt.max_new
    return found


@torch.inference_mode()
def run_batch(
    model: Model,
    prompts: Sequence[Prompt],
    plan: Plan | None,
    finish: Callable[[int, Generation], None],
    cancelled: Callable[[], bool],
) -> None:
    """Calls `finish` with each row's number and result, as soon as it is there."""
    width = max(len(prompt.tokens) for prompt in prompts)
    offsets = tuple(width - len(prompt.tokens) for prompt in prompts)
    what = Reading(offsets if any(offsets) else None, plan)
    padded = [[0] * offset + prompt.tokens for offset, prompt in zip(offsets, prompts, strict=True)]
    cache = KvCache(model.layers, width + max(prompt.max_new for prompt in prompts))
    sampler = Sampler([prompt.sampling for prompt in prompts], model.device)
    new: list[list[int]] = [[] for _ in prompts]
    # The rows that run, and those of them that have not ended.
    rows = list(range(len(prompts)))
    unended = set(rows)
    tokens = torch.tensor(padded, dtype=torch.long, device=model.device)
    while True:
        if cancelled():
            raise interrupted()
        logits = model.forward(tokens, cache, what, 1)[:, -1].to(model.device)
        chosen = sampler.next(logits)
        for row, token in zip(rows, chosen, strict=True):
            if row not in unended:
                continue
            new[row].append(token)
            stopped = token in prompts[row].stop
            if stopped or len(new[row]) >= prompts[row].max_new:
                unended.discard(row)
                finish(row, Generation(new[row], "stop" if stopped else "length"))
        if not unended:
            return
        if 2 * len(unended) <= len(rows):
            # Each halving copies what it keeps; until then, what comes out of ended rows is dropped.
            places = [place for place, row in enumerate(rows) if row in unended]
            rows, chosen = [rows[place] for place in places], [chosen[place] for place in places]
            cache.select(torch.tensor(places, device=model.device))
            sampler.select(places)
            what = Reading(what.offsets and tuple(offsets[row] for row in rows), plan)
        tokens = torch.tensor([[token] for token in chosen], dtype=torch.long, device=model.device)
