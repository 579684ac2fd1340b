from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from tessera_worker import generate as generating
from tessera_worker.errors import WorkerError
from tessera_worker.generate import Prompt, batches, generate
from tessera_worker.sampling import Sampler, Sampling

from .models import GQA
from .reference import Reference, quiet, random_plan, tokens


def prompt(seed, length, new=6, stop=(), sampling=None, plan=None):
    return Prompt(tokens(seed, length), new, frozenset(stop), sampling, plan)


def run(model, prompts, plans=(), batch_tokens=None):
    return [g.tokens for g in generate(model, prompts, plans, batch_tokens=batch_tokens, **quiet)[0]]


def test_greedy_is_what_transformers_generates(kind, folder, model):
    own = AutoModelForCausalLM.from_pretrained(folder(kind), dtype=torch.float32)
    own.generation_config.eos_token_id = None
    prompts = [prompt(i, 5 + 9 * i) for i in range(3)]
    expected = [
        own.generate(torch.tensor([p.tokens]), max_new_tokens=6, do_sample=False)[0, len(p.tokens) :].tolist()
        for p in prompts
    ]
    # In one batch, so with padding.
    assert run(model(kind), prompts) == expected


def test_under_a_plan_it_is_what_a_mask_written_out_pair_by_pair_gives(kind, folder, model):
    reference = Reference(folder(kind))
    plans = [random_plan(seed, layers=2, heads=4) for seed in range(2)]
    prompts = [prompt(i, 17 + 5 * i, plan=i % 2) for i in range(4)]
    expected = [reference.greedy(p.tokens, p.max_new, plans[p.plan]) for p in prompts]
    assert run(model(kind), prompts, plans) == expected


def test_a_batch_gives_what_each_row_gives_alone(model):
    sampled = Sampling(0.8, 0.9, 5)
    plans = [random_plan(4, layers=2, heads=4)]
    prompts = [
        prompt(i, 3 + (7 * i) % 23, 4 + i % 3, sampling=sampled if i % 2 else None, plan=0 if i % 3 else None)
        for i in range(12)
    ]
    together = run(model(GQA), prompts, plans)
    assert together == [run(model(GQA), [p], plans)[0] for p in prompts]
    assert [len(t) for t in together] == [p.max_new for p in prompts]


@pytest.mark.parametrize("plan", [None, 0])
def test_rows_that_have_ended_leave_the_batch_when_they_are_half_of_it(plan, model, monkeypatch):
    plans = [random_plan(4, layers=2, heads=4)]
    prompts = [
        prompt(i, 3 + (7 * i) % 23, new, sampling=Sampling(0.8, 0.9, i) if i % 2 else None, plan=plan)
        for i, new in enumerate((4, 2, 8, 2, 2, 6, 2, 4))
    ]
    alone = [run(model(GQA), [p], plans)[0] for p in prompts]
    rows: list[int] = []
    forward = type(model(GQA)).forward
    monkeypatch.setattr(
        type(model(GQA)), "forward", lambda self, t, *rest: rows.append(t.shape[0]) or forward(self, t, *rest)
    )
    assert run(model(GQA), prompts, plans) == alone
    assert rows == [8, 8, 4, 4, 2, 2, 1, 1]


def test_a_stop_token_ends_a_row_and_belongs_to_it(model):
    free = run(model(GQA), [prompt(1, 9, 8)])[0]
    stop = free[3]
    first = free.index(stop)
    results, _ = generate(
        model(GQA), [prompt(1, 9, 8, [stop, 96]), prompt(2, 4, 8)], (), batch_tokens=None, **quiet
    )
    assert (results[0].tokens, results[0].ended) == (free[: first + 1], "stop")
    assert (len(results[1].tokens), results[1].ended) == (8, "length")


def test_sampling_repeats_with_its_seed_and_differs_with_another(model):
    def sample(seed):
        return run(model(GQA), [prompt(1, 9, 16, sampling=Sampling(1.5, 1.0, seed))])[0]

    assert sample(1) == sample(1)
    assert len({tuple(sample(seed)) for seed in range(5)}) > 1


def test_sampling_draws_from_the_nucleus_in_proportion():
    logits = torch.log(torch.tensor([[0.5, 0.1, 0.3, 0.1]]))
    sampler = Sampler([Sampling(1.0, 0.75, 11)], torch.device("cpu"))
    draws = [sampler.next(logits)[0] for _ in range(4000)]
    # 0.5 alone does not reach 0.75; with 0.3 it does.
    assert set(draws) == {0, 2}
    assert draws.count(0) / 4000 == pytest.approx(0.625, abs=0.03)


def test_a_low_temperature_is_greedy(model):
    greedy = run(model(GQA), [prompt(1, 9, 6)])
    assert run(model(GQA), [prompt(1, 9, 6, sampling=Sampling(1e-3, 1.0, 1))]) == greedy


def test_batches_hold_one_plan_and_keep_to_the_budget():
    prompts = [prompt(i, 1 + (i * 13) % 40, 1 + i % 7, plan=i % 2 or None) for i in range(50)]
    found = batches(prompts, 200)
    assert sorted(i for batch in found for i in batch) == list(range(50))
    for batch in found:
        rows = [prompts[i] for i in batch]
        assert len({r.plan for r in rows}) == 1
        slots = max(len(r.tokens) for r in rows) + max(r.max_new for r in rows)
        assert len(batch) * slots <= 200


def test_results_come_in_the_order_of_the_prompts_whatever_the_budget(model):
    prompts = [prompt(i, 3 + (7 * i) % 23) for i in range(8)]
    assert run(model(GQA), prompts, batch_tokens=1) == run(model(GQA), prompts)


def test_out_of_memory_halves_the_batch_and_a_row_alone_is_an_error(model, monkeypatch):
    prompts = [prompt(i, 5 + i) for i in range(6)]
    expected = run(model(GQA), prompts)
    real = generating.run_batch
    most = 2

    def limited(m, rows, *rest):
        if len(rows) > most:
            raise torch.OutOfMemoryError("injected")
        real(m, rows, *rest)

    monkeypatch.setattr(generating, "run_batch", limited)
    results, retries = generate(model(GQA), prompts, (), batch_tokens=None, **quiet)
    assert [r.tokens for r in results] == expected
    assert retries == 3
    most = 0
    with pytest.raises(WorkerError, match="injected") as caught:
        run(model(GQA), prompts)
    assert caught.value.reason == "OutOfMemory"


def test_progress_counts_finished_prompts_and_a_cancel_stops_between_tokens(model):
    seen: list[int] = []
    generate(
        model(GQA),
        [prompt(i, 4) for i in range(3)],
        (),
        batch_tokens=None,
        on_progress=seen.append,
        cancelled=lambda: False,
    )
    assert seen == [1, 2, 3]
    asked = iter([False, False, True])
    with pytest.raises(WorkerError) as caught:
        generate(
            model(GQA),
            [prompt(1, 4)],
            (),
            batch_tokens=None,
            on_progress=seen.append,
            cancelled=lambda: next(asked),
        )
    assert caught.value.reason == "Interrupted"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (prompt(1, 0), "prompt 0 is empty"),
        (prompt(1, 251), "257 tokens do not fit the model's 256 positions"),
        (prompt(1, 4, 0), "maxNewTokens is 0"),
        (prompt(1, 4, plan=2), "plan 2 is none of the 0 plans"),
        (prompt(1, 4, sampling=Sampling(0.0, 1.0, 1)), "the temperature is 0.0"),
        (prompt(1, 4, sampling=Sampling(1.0, 0.0, 1)), "topP is 0.0"),
        (Prompt([3, -1], 4, frozenset(), None, None), "token 1 has the id -1"),
    ],
)
def test_bad_prompts_are_refused(model, bad, message):
    with pytest.raises(WorkerError, match=message) as caught:
        run(model(GQA), [bad])
    assert caught.value.reason == "InvalidRequest"
