from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig

from tessera_worker import score as scoring
from tessera_worker.errors import WorkerError
from tessera_worker.score import Row, score

from .models import GQA, make, open_model
from .reference import Reference, quiet, random_plan, tokens


def test_dense_losses_are_those_of_transformers_eager_attention(kind, folder, model):
    reference = Reference(folder(kind))
    rows = [Row(tokens(i, 5 + 7 * i), tokens(10 + i, 1 + 4 * i), None) for i in range(3)]
    results, retries = score(model(kind), rows, [], **quiet)
    assert retries == 0
    for row, result in zip(rows, results, strict=True):
        expected = reference.loss(row.prefix, row.continuation)
        torch.testing.assert_close(torch.tensor(result.loss), expected, rtol=1e-4, atol=1e-4)
        logits = reference.logits(row.prefix + row.continuation)[len(row.prefix) - 1 : -1]
        assert result.predicted == logits.argmax(-1).tolist()


def test_losses_under_a_plan_are_those_of_a_mask_written_out_pair_by_pair(kind, folder, model):
    reference = Reference(folder(kind))
    plans = [random_plan(seed, layers=2, heads=4) for seed in range(3)]
    rows = [Row(tokens(i, 21), tokens(10 + i, 12), i) for i in range(3)]
    results, _ = score(model(kind), rows, plans, **quiet)
    for row, result in zip(rows, results, strict=True):
        expected = reference.loss(row.prefix, row.continuation, plans[row.plan])
        torch.testing.assert_close(torch.tensor(result.loss), expected, rtol=1e-4, atol=1e-4)


def test_a_plan_changes_the_loss(model):
    plan = random_plan(1, layers=2, heads=4, longest=1)
    rows = [Row(tokens(1, 40), tokens(2, 4), index) for index in (None, 0)]
    dense, sparse = score(model(GQA), rows, [plan], **quiet)[0]
    assert max(abs(a - b) for a, b in zip(dense.loss, sparse.loss, strict=True)) > 0.01


def test_parts_of_any_size_give_the_same(model, monkeypatch):
    rows = [Row(tokens(1, 30), tokens(2, 17), plan) for plan in (None, 0)]
    plan = random_plan(3, layers=2, heads=4)
    whole, _ = score(model(GQA), rows, [plan], **quiet)
    monkeypatch.setitem(scoring.PREFIX, "cpu", 7)
    monkeypatch.setitem(scoring.LOGITS, "cpu", 97 * 5)
    parts, _ = score(model(GQA), rows, [plan], **quiet)
    for a, b in zip(whole, parts, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)


def test_an_equal_prefix_is_computed_once(model, monkeypatch):
    prefix = tokens(1, 50)
    rows = [Row(prefix, tokens(seed, 3), None) for seed in range(4)]
    seen: list[int] = []
    forward = type(model(GQA)).forward
    monkeypatch.setattr(
        type(model(GQA)), "forward", lambda self, t, *rest: seen.append(t.shape[1]) or forward(self, t, *rest)
    )
    score(model(GQA), rows, [], **quiet)
    assert seen == [49, 3, 3, 3, 3]


def test_an_empty_continuation_has_no_losses(model):
    results, _ = score(model(GQA), [Row(tokens(1, 5), [], None)], [], **quiet)
    assert results[0].loss == [] and results[0].predicted == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row([], [3], None), "prefix is empty"),
        (Row([3], [97], None), "has the id 97"),
        (Row([3] * 250, [3] * 7, None), "257 tokens do not fit the model's 256 positions"),
        (Row([3], [3], 1), "plan 1 is none"),
    ],
)
def test_bad_rows_are_refused(model, row, message):
    with pytest.raises(WorkerError, match=message) as caught:
        score(model(GQA), [row], [], **quiet)
    assert caught.value.reason == "InvalidRequest"


def test_a_plan_of_another_model_is_refused(model):
    with pytest.raises(WorkerError, match=r"windows for 3 layers of \[8\] query heads"):
        score(model(GQA), [], [random_plan(1, layers=3, heads=8)], **quiet)


def test_out_of_memory_halves_the_parts_and_then_is_an_error(model, monkeypatch):
    forward = type(model(GQA)).forward

    def limited(self, t, *rest):
        if t.shape[1] > limit:
            raise torch.OutOfMemoryError("injected")
        return forward(self, t, *rest)

    monkeypatch.setattr(type(model(GQA)), "forward", limited)
    rows = [Row(tokens(1, 40), tokens(2, 20), None), Row(tokens(3, 40), tokens(4, 20), None)]
    limit = 100
    expected = [result.loss for result in score(model(GQA), rows, [], **quiet)[0]]
    limit = 12
    results, retries = score(model(GQA), rows, [], **quiet)
    assert retries == 2
    for a, b in zip(expected, results, strict=True):
        assert a == pytest.approx(b.loss, abs=1e-5)
    limit = 0
    with pytest.raises(WorkerError) as caught:
        score(model(GQA), rows, [], **quiet)
    assert caught.value.reason == "OutOfMemory"


def test_logits_that_are_not_numbers_are_an_error(tmp_path):
    model = open_model(make(tmp_path, LlamaConfig(**{**SHAPE_OF_ONE, "num_key_value_heads": 2})))
    with torch.no_grad():
        model.module.get_parameter("model.norm.weight").fill_(torch.inf)
    with pytest.raises(WorkerError, match="NaN or infinite") as caught:
        score(model, [Row([3, 4], [5], None)], [], **quiet)
    assert caught.value.reason == "Execution"


SHAPE_OF_ONE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
}
