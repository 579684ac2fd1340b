from __future__ import annotations

import pytest
import torch

from tessera_worker.influence import objective
from tessera_worker.influence.objective import losses, mean_objective

from .tiny import tiny


def test_objectives_equal_their_definitions() -> None:
    logits = torch.randn((50, 20), generator=torch.Generator().manual_seed(0)).double() * 3
    labels = torch.arange(50) % 20
    p = torch.softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(losses(logits, labels, "cross-entropy"), -p.log())
    torch.testing.assert_close(losses(logits, labels, "log-odds"), (1 - p).log() - p.log())


def test_log_odds_keep_their_digits_where_the_model_is_sure() -> None:
    logits = torch.tensor([[40.0, 0.0, -1.0]], requires_grad=True)
    loss = losses(logits, torch.tensor([0]), "log-odds")
    want = torch.log(torch.tensor(1 + torch.e**-1)) - 40
    torch.testing.assert_close(loss, want[None])
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient[0, 0] == -1


@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
def test_chunks_make_no_difference(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny().eval()
    ids = torch.arange(20)[None] * 3
    mask = torch.arange(20) % 3 == 0
    logits = model(input_ids=ids).logits[0]
    counted = mask.nonzero()[1:, 0]
    want = torch.nn.functional.cross_entropy(logits[counted - 1], ids[0, counted])
    wanted = torch.autograd.grad(want, model.model.norm.weight)
    monkeypatch.setattr(objective, "CHUNK", chunk)
    got = mean_objective(model, ids, mask, "cross-entropy")
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, model.model.norm.weight), wanted)


def test_logits_are_scaled_as_the_model_class_does() -> None:
    from transformers import Cohere2Config, Cohere2ForCausalLM, Gemma2Config, Gemma2ForCausalLM

    small = {
        "vocab_size": 80, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    }  # fmt: skip
    for model in (
        Gemma2ForCausalLM(Gemma2Config(**small, head_dim=16, final_logit_softcapping=0.5)),
        Cohere2ForCausalLM(Cohere2Config(**small, logit_scale=0.3)),
    ):
        model.double().eval()
        ids = torch.arange(9)[None]
        logits = model(input_ids=ids).logits[0, :-1]
        want = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
        torch.testing.assert_close(mean_objective(model, ids, torch.ones(9) > 0, "cross-entropy"), want)
