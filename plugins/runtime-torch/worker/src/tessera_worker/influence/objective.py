# mypy: allow-untyped-calls
"""What is differentiated: the mean objective of an item's counted tokens, from the last layer's output.

Logits of one chunk of tokens are held at a time, and their gradient goes back to the hidden states at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from ..errors import WorkerError

Objective = Literal["cross-entropy", "log-odds"]

#: Logits of a chunk of tokens.
CHUNK = 1 << 28

Head = Callable[[torch.Tensor], torch.Tensor]


def losses(logits: torch.Tensor, labels: torch.Tensor, objective: Objective) -> torch.Tensor:
    """Per token, in nats: −log p, or log(1 − p) − log p [token].

    Logits [token, vocabulary] are in float32 or more. As log(1 − p) is the log-sum-exp of the others, no
    digit is lost where p is near 1.
    """
    own = logits.gather(1, labels[:, None])
    if objective == "log-odds":
        logits = logits.scatter(1, labels[:, None], float("-inf"))
    return torch.logsumexp(logits, 1) - own[:, 0]


def head_of(model: PreTrainedModel) -> Head:
    """The model's own way from hidden states [token, hidden] to logits.

    That is its output layer, scaling and softcapping. Model classes scale logits in their `forward`; whether
    this does as they do is tried on one token.
    """
    if model not in _checked:
        _checked[model] = _equals_forward(model)
    if not _checked[model]:
        raise WorkerError(
            "Unsupported",
            f"{type(model).__name__} does more to logits than scale or softcap them: it can't be profiled",
        )
    return _head(model)


_checked: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def _head(model: PreTrainedModel) -> Head:
    output: Any = model.get_output_embeddings()
    config = model.config.get_text_config()
    softcap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)

    def head(hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = output(hidden)
        if scale is not None:
            logits = logits * scale
        if divisor is not None:
            logits = logits / divisor
        if softcap is not None:
            logits = torch.tanh(logits / softcap) * softcap
        return logits

    return head


def _equals_forward(model: PreTrainedModel) -> bool:
    embeddings: Any = model.get_input_embeddings()
    ids = torch.zeros((1, 1), dtype=torch.long, device=embeddings.weight.device)
    with torch.no_grad():
        wanted = model(input_ids=ids, use_cache=False).logits[0].float()
        got = _head(model)(decode(model, ids)[0]).float().to(wanted.device)
    return bool(torch.allclose(got, wanted, rtol=1e-2, atol=1e-2 * float(wanted.abs().max())))


def decode(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """The last layer's output, normalised [1, N, hidden]."""
    decoder: Any = model.get_decoder()
    hidden: torch.Tensor = decoder(input_ids=ids, use_cache=False).last_hidden_state
    return hidden


class _MeanObjective(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, labels: torch.Tensor, head: Head, objective: Objective, chunk: int
    ) -> torch.Tensor:
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), dtype=torch.float64, device=labels.device)
        for first in range(0, len(labels), chunk):
            part = slice(first, first + chunk)
            with torch.enable_grad():
                x = hidden[part].detach().requires_grad_()
                logits = head(x)
                logits = logits if logits.dtype == torch.float64 else logits.float()
                loss = losses(logits, labels[part], objective).sum()
                (gradient[part],) = torch.autograd.grad(loss / len(labels), x)
            total += loss.detach()
        ctx.save_for_backward(gradient)
        return total / len(labels)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].to(gradient.dtype), None, None, None, None


def mean_objective(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, objective: Objective
) -> torch.Tensor:
    """Mean objective in nats (a float64 scalar that carries gradients) of the tokens counted by `mask` [N].

    The position before a token predicts it, so the first is never counted.
    """
    counted = mask.nonzero()[:, 0]
    counted = counted[counted > 0]
    if len(counted) == 0:
        raise WorkerError("InvalidRequest", "the mask counts no token's loss")
    hidden = decode(model, ids)[0]
    counted = counted.to(hidden.device)
    head = head_of(model)
    output: Any = model.get_output_embeddings()
    rows = hidden[counted - 1].to(output.weight.device)
    labels = ids[0].to(rows.device)[counted.to(rows.device)]
    chunk = max(1, CHUNK // output.weight.shape[0])
    loss: torch.Tensor = _MeanObjective.apply(rows, labels, head, objective, chunk)
    return loss
