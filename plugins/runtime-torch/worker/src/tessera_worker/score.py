"""Loss and greedy prediction per token of continuations; a prefix is computed once for its continuations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch.nn.functional import cross_entropy

from .cache import KvCache
from .errors import WorkerError, interrupted
from .models import Model
from .protocol import Plan
from .sampling import not_finite
from .windows import Reading

# Logits that are there at once.
LOGITS = {"cuda": 1 << 28, "cpu": 1 << 25}

# Tokens of a prefix that go through the model at once.
PREFIX = {"cuda": 1 << 15, "cpu": 1 << 12}


@dataclass(frozen=True)
class Row:
    prefix: list[int]
    continuation: list[int]
    plan: int | None
    """An index into the plans; None: dense."""


@dataclass(frozen=True)
class Score:
    loss: list[float]
    """Cross-entropy in nats, per token of the continuation."""
    predicted: list[int]


def score(
    model: Model,
    rows: Sequence[Row],
    plans: Sequence[Plan],
    *,
    on_progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> tuple[list[Score], int]:
    """Results in the order of the rows, and how often memory ran out and the parts were halved.

    Raises `WorkerError`: InvalidRequest, OutOfMemory, Interrupted, Execution.
    """
    check(model, rows, plans)
    results: list[Score] = []
    retries = 0
    logits = max(1, LOGITS[model.device.type] // model.vocabulary)
    part = PREFIX[model.device.type]
    for _, same in groupby(enumerate(rows), key=lambda row: (row[1].prefix, row[1].plan)):
        group = list(same)
        while True:
            done = len(results) - group[0][0]
            left = [row for _, row in group[done:]]
            try:
                for result in run_group(model, left, plans, min(part, logits), part, cancelled):
                    results.append(result)
                    on_progress(len(results))
                break
            except torch.OutOfMemoryError as error:
                if part == 1:
                    raise WorkerError(
                        "OutOfMemory",
                        f"row {len(results)} ({len(left[0].prefix)} + {len(left[0].continuation)} tokens) "
                        f"does not fit the device's memory; use a shorter one, or a smaller dtype ({error})",
                    ) from error
            if model.device.type == "cuda":
                torch.cuda.empty_cache()
            retries += 1
            # Past the longest row, a smaller part changes nothing.
            longest = max(max(len(row.prefix), len(row.continuation)) for row in left)
            part = max(1, min(part, longest) // 2)
    return results, retries


def check(model: Model, rows: Sequence[Row], plans: Sequence[Plan]) -> None:
    """Raises `WorkerError` (InvalidRequest)."""
    for index, plan in enumerate(plans):
        model.check_plan(plan, f"plan {index}")
    for index, row in enumerate(rows):
        if not row.prefix:
            raise WorkerError(
                "InvalidRequest",
                f"row {index}: the prefix is empty: nothing predicts the first token; begin it with the "
                "begin-of-text token",
            )
        if row.plan is not None and not 0 <= row.plan < len(plans):
            raise WorkerError(
                "InvalidRequest", f"row {index}: plan {row.plan} is none of the {len(plans)} plans"
            )
        model.check_tokens(f"row {index}: prefix", row.prefix, len(row.continuation))
        model.check_tokens(f"row {index}: continuation", row.continuation)


@torch.inference_mode()
def run_group(
    model: Model,
    rows: Sequence[Row],
    plans: Sequence[Plan],
    scored: int,
    part: int,
    cancelled: Callable[[], bool],
) -> Iterator[Score]:
    """Scores rows of one prefix and plan.

    :param scored: tokens of a continuation that go through the model at once.
    :param part: the same of the prefix.
    """
    prefix, plan = rows[0].prefix, rows[0].plan
    what = Reading(None, None if plan is None else plans[plan])
    longest = max(len(row.continuation) for row in rows)
    cache = KvCache(model.layers, len(prefix) + longest)

    def run(tokens: list[int], last: int) -> torch.Tensor:
        if cancelled():
            raise interrupted()
        return model.forward(torch.tensor([tokens], device=model.device), cache, what, last)[0]

    for begin in range(0, len(prefix) - 1, part):
        run(prefix[begin : min(begin + part, len(prefix) - 1)], 1)
    for row in rows:
        cache.truncate(len(prefix) - 1)
        # Each of these predicts the next; the last token predicts nothing that is asked for.
        inputs = [prefix[-1], *row.continuation[:-1]]
        losses: list[float] = []
        predicted: list[int] = []
        for begin in range(0, len(row.continuation), scored):
            labels = row.continuation[begin : begin + scored]
            logits = run(inputs[begin : begin + scored], len(labels)).float()
            top, best = logits.max(-1)
            loss = cross_entropy(logits, torch.tensor(labels, device=logits.device), reduction="none")
            if not bool(torch.isfinite(top).all()):
                raise not_finite("the continuation")
            losses.extend(loss.tolist())
            predicted.extend(best.tolist())
        yield Score(losses, predicted)
