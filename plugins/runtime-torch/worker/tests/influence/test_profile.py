"""Profiles of whole tiny models, on the CPU, against autograd in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tessera_worker.errors import WorkerError
from tessera_worker.influence import memory
from tessera_worker.influence.memory import Kept
from tessera_worker.influence.objective import Objective
from tessera_worker.influence.profile import Result, profile
from tessera_worker.influence.reference import sum_blocks
from tessera_worker.influence.sums import Sum, window_sums

from . import tiny as models
from .tiny import ITEMS, influence_of, loss_of, tiny


def profiled(model: Any, items: Any = ITEMS, **changes: Any) -> list[Result]:
    options: dict[str, Any] = {"objective": "cross-entropy", "block": 8, "sum": "abs", "keep": "blocks"}
    return list(profile(model, items, **{**options, **changes}))


def assert_equal(got: list[Result], want: list[Result], **tolerance: float) -> None:
    assert [(one.item, one.blocks) for one in got] == [(one.item, one.blocks) for one in want]
    for one, other in zip(got, want, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-9)
        torch.testing.assert_close(one.layers, other.layers, **tolerance)


@pytest.mark.parametrize("objective", ["cross-entropy", "log-odds"])
@pytest.mark.parametrize("sum", ["abs", "signed"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_block_sums_equal_autograd(objective: Objective, sum: Sum, kv_heads: int) -> None:
    model = tiny(num_key_value_heads=kv_heads)
    for block in (8, 16, 100):
        for (tokens, mask), got in zip(
            ITEMS, profiled(model, block=block, objective=objective, sum=sum), strict=True
        ):
            loss, layers = influence_of(model, tokens, mask, objective)
            assert got.loss == pytest.approx(loss, rel=1e-9)
            side = min(block, len(tokens))
            want = [sum_blocks(e.abs() if sum == "abs" else e, side) for e in layers]
            assert got.blocks == want[0].shape[-1]
            torch.testing.assert_close(got.layers, want, rtol=1e-8, atol=1e-14)


def test_float32_stays_close_to_float64() -> None:
    for got, want in zip(profiled(tiny(torch.float32)), profiled(tiny()), strict=True):
        for layer, exact in zip(got.layers, want.layers, strict=True):
            assert float((layer - exact).norm() / exact.norm()) < 1e-5


def test_influence_is_what_a_row_costs_when_a_key_begins_to_drop_out() -> None:
    model = tiny()
    tokens, mask = ITEMS[1]
    (got,) = profiled(model, [ITEMS[1]], block=1, sum="signed", objective="log-odds")
    for layer, head, query, key in (
        (0, 0, 17, 0),
        (0, 3, 10, 10),
        (1, 1, 15, 3),
        (2, 2, 17, 11),
        (1, 2, 0, 0),
    ):
        if query == 0:
            assert float(got.layers[layer][head, query, key]) == 0
            continue

        def loss(t: float, layer: int = layer, head: int = head, query: int = query, key: int = key) -> float:
            def blend(a: torch.Tensor) -> torch.Tensor:
                changed = a.clone()
                row = a[0, head, query].clone()
                row[key] = 0
                changed[0, head, query] = (1 - t) * a[0, head, query] + t * row / row.sum()
                return changed

            models.change[layer] = blend
            try:
                return float(loss_of(model, tokens, mask, "log-odds").detach())
            finally:
                models.change.clear()

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert float(got.layers[layer][head, query, key]) == pytest.approx(slope, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("kept", [Kept.ATTENTION, Kept.INPUTS])
def test_layers_computed_again_give_the_same(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    want = profiled(tiny(), checkpointing=False)
    monkeypatch.setattr(memory, "choose", lambda *_: kept)
    assert_equal(profiled(tiny()), want, rtol=1e-12, atol=1e-15)


def test_windows_are_sums_of_blocks() -> None:
    model = tiny()
    for got, blocks in zip(profiled(model, keep="windows", sink=16), profiled(model), strict=True):
        want = [window_sums(layer, 8, 16) for layer in blocks.layers]
        torch.testing.assert_close(got.layers, want)


@pytest.mark.parametrize("keep", ["blocks", "windows"])
def test_the_total_is_the_sum_of_items(keep: str) -> None:
    model = tiny()
    items = profiled(model, keep=keep)
    (total,) = profiled(model, keep=keep, total=True)
    assert (total.item, total.blocks) == (None, 8)
    assert total.loss == pytest.approx(sum(one.loss for one in items))
    for layer, values in enumerate(total.layers):
        want = torch.zeros_like(values)
        for one in items:
            part = one.layers[layer]
            want[tuple(slice(size) for size in part.shape)] += part
        torch.testing.assert_close(values, want)


def test_the_model_is_as_it_was() -> None:
    model = tiny().train()
    model.model.embed_tokens.requires_grad_(False)
    before = [parameter.requires_grad for parameter in model.parameters()]
    profiled(model, checkpointing=True)
    assert model.training and all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == before
    assert model.config._attn_implementation == "sdpa"
    assert not model.is_gradient_checkpointing
    assert all(parameter.grad is None for parameter in model.parameters())


def test_out_of_memory_keeps_less_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_worker.influence import profile as module

    want, whole = profiled(tiny()), module._pass
    kept_in_turn = []

    def short(*arguments: Any) -> float:
        kept = arguments[-1]
        kept_in_turn.append(kept)
        if kept < Kept.INPUTS:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(*arguments)

    monkeypatch.setattr(module, "_pass", short)
    got = profiled(tiny())
    assert_equal(got, want, rtol=1e-12, atol=1e-15)
    assert [one.retries for one in got] == [2, 0, 0] or sum(one.retries for one in got) == 6
    assert kept_in_turn[:3] == [Kept.ALL, Kept.ATTENTION, Kept.INPUTS]


def test_cancelling_stops_between_layers() -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(WorkerError) as error:
        profiled(tiny(), cancelled=cancelled)
    assert error.value.reason == "Interrupted"
    assert asked == 6


@pytest.mark.parametrize("item", [([1, 2, 3], [True, False, False]), ([1, 2, 3], [True, True]), ([], [])])
def test_items_that_count_nothing_are_refused(item: Any) -> None:
    with pytest.raises(WorkerError) as error:
        profiled(tiny(), [item])
    assert error.value.reason == "InvalidRequest"


def test_a_sliding_window_shorter_than_the_item_is_refused() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=32,
    )  # fmt: skip
    model = MistralForCausalLM(config)
    assert len(profiled(model, ITEMS[1:2])) == 1
    with pytest.raises(WorkerError) as error:
        profiled(model)
    assert error.value.reason == "Unsupported"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_float32_stays_close_to_float64() -> None:
    on_gpu = profiled(tiny(torch.float32).to("cuda"), block=16)
    for got, want in zip(on_gpu, profiled(tiny(), block=16), strict=True):
        for layer, exact in zip(got.layers, want.layers, strict=True):
            assert float((layer.cpu() - exact).norm() / exact.norm()) < 1e-3
