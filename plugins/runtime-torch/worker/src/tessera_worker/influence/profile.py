# mypy: allow-untyped-calls
"""Influence profiles of a model: block sums of every layer and query head, item by item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from ..errors import WorkerError
from . import attention, memory
from .objective import Objective, mean_objective
from .sums import Keep, Sum, Sums

#: Token ids, and which of them count in the loss.
Item = tuple[Sequence[int], Sequence[bool]]


@dataclass(frozen=True)
class Result:
    """Of one item, or of all."""

    #: None where all items are summed.
    item: int | None
    #: In nats a token: the item's, or the sum of the items'.
    loss: float
    #: Blocks a side; of the longest item where all are summed.
    blocks: int
    #: A layer's [query head, query block, key block], or D(w) [query head, 0 … blocks], on the host.
    layers: list[torch.Tensor]
    #: How often memory ran out and the item went again with fewer activations kept.
    retries: int


def profile(
    model: PreTrainedModel,
    items: Sequence[Item],
    *,
    objective: Objective,
    block: int,
    sum: Sum,
    keep: Keep,
    sink: int = 0,
    total: bool = False,
    checkpointing: Literal["auto"] | bool = "auto",
    on_progress: Callable[[int], None] = lambda done: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """A result an item as it is done, or with `total` one in the end.

    Args:
        model: any causal decoder of transformers; its layers may be on several devices. Its weights get no
            gradients.
        block: tokens a side of a block; a shorter item is one block.
        sum: of E or of |E|.
        keep: block sums, or D(w), the sums that windows of w blocks beside the sink drop.
        sink: tokens.
        checkpointing: whether layers are computed again in the backward pass; "auto": where memory needs it.
        on_progress: told how many items are done.
        cancelled: asked between layers and items.

    Raises:
        WorkerError: InvalidRequest, Unsupported, OutOfMemory or Interrupted.
    """
    collector = Sums(block=block, sum=sum, keep=keep, sink=sink, cancelled=cancelled)
    kept, loss, blocks, retries = memory.Kept.ALL, 0.0, 0, 0
    with _profiled(model):
        for index, (tokens, mask) in enumerate(items):
            _check(index, tokens, mask)
            collector.check()
            least = memory.choose(model, len(tokens), checkpointing)
            item_loss, used, tries = _item(model, tokens, mask, objective, collector, max(least, kept))
            # What ran out of memory once is not tried again.
            kept, retries = (used if tries else kept), retries + tries
            loss, blocks = loss + item_loss, max(blocks, -(-len(tokens) // min(block, len(tokens))))
            collector.add_item()
            on_progress(index + 1)
            if not total:
                yield Result(index, loss, blocks, collector.take(), retries)
                kept, loss, blocks, retries = memory.Kept.ALL, 0.0, 0, 0
        if total and items:
            yield Result(None, loss, blocks, collector.take(), retries)


def _check(index: int, tokens: Sequence[int], mask: Sequence[bool]) -> None:
    if len(tokens) != len(mask) or not any(mask[1:]):
        raise WorkerError(
            "InvalidRequest",
            f"item {index} has {len(tokens)} tokens and {len(mask)} flags; give a flag for each token, and "
            "at least one true after the first",
        )


def _item(
    model: PreTrainedModel,
    tokens: Sequence[int],
    mask: Sequence[bool],
    objective: Objective,
    collector: Sums,
    kept: memory.Kept,
) -> tuple[float, memory.Kept, int]:
    """The loss, what was kept in the end, and how often memory ran out before."""
    for tries in range(len(memory.Kept)):
        try:
            return _pass(model, tokens, mask, objective, collector, kept), kept, tries
        except torch.OutOfMemoryError as error:
            said = str(error).splitlines()[0]
        collector.drop_item()
        torch.cuda.empty_cache()
        if kept == memory.Kept.INPUTS:
            break
        kept = memory.Kept(kept + 1)
    raise WorkerError(
        "OutOfMemory",
        f"{len(tokens)} tokens do not fit, with one layer's activations at a time: {said}; use a shorter "
        "length or more GPUs",
    )


def _pass(
    model: PreTrainedModel,
    tokens: Sequence[int],
    mask: Sequence[bool],
    objective: Objective,
    collector: Sums,
    kept: memory.Kept,
) -> float:
    """Forward and backward: the loss; the collector gets the layers' sums."""
    embeddings: Any = model.get_input_embeddings()
    device = embeddings.weight.device
    ids = torch.tensor(tokens, dtype=torch.long, device=device)[None]
    flags = torch.tensor(mask, dtype=torch.bool, device=device)

    def collecting() -> AbstractContextManager[None]:
        return attention.collecting(collector)

    with torch.enable_grad(), collecting(), memory.keeping(model, kept, collecting):
        loss = mean_objective(model, ids, flags, objective)
        torch.autograd.backward(loss)
    return float(loss.detach())


@contextmanager
def _profiled(model: PreTrainedModel) -> Iterator[None]:
    """The model with our attention, in evaluation mode and with frozen weights; as it was, afterwards."""
    was_training, implementation = model.training, model.config._attn_implementation
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    model.requires_grad_(False)
    model.set_attn_implementation(attention.NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(implementation)
        model.train(was_training)
        for parameter in wanted:
            parameter.requires_grad_(True)
