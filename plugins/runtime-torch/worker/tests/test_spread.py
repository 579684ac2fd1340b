"""One model over several GPUs gives what it gives on one; needs two GPUs."""

from __future__ import annotations

import pytest
import torch

from tessera_worker import models
from tessera_worker.generate import Prompt, generate
from tessera_worker.influence.profile import profile
from tessera_worker.models import Model, load
from tessera_worker.protocol import Load
from tessera_worker.score import Row, score

from .models import GQA
from .reference import quiet, random_plan, tokens

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.fixture(scope="module")
def spread_and_whole(folder) -> tuple[Model, Model]:
    request = Load(folder=str(folder(GQA)), device="cuda", dtype="float32")
    patch = pytest.MonkeyPatch()
    # As transformers' "auto" would place layers, were the GPUs that small.
    halves = {"model.embed_tokens": 0, "model.layers.0": 0, "model.layers.1": 1, "model.norm": 1}
    patch.setattr(models, "place", lambda *_: {**halves, "model.rotary_emb": 0, "lm_head": 1})
    spread = load(request)
    patch.undo()
    assert {parameter.device.index for parameter in spread.module.parameters()} == {0, 1}
    return spread, load(request)


def test_losses_under_a_plan(spread_and_whole):
    plans = [random_plan(1, layers=2, heads=4)]
    rows = [Row(tokens(i, 21), tokens(10 + i, 12), plan) for i, plan in enumerate((None, 0))]
    spread, whole = (score(model, rows, plans, **quiet)[0] for model in spread_and_whole)
    for a, b in zip(spread, whole, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
        assert a.predicted == b.predicted


def test_generated_tokens(spread_and_whole):
    plans = [random_plan(2, layers=2, heads=4)]
    prompts = [Prompt(tokens(i, 9 + i), 6, frozenset(), None, plan) for i, plan in enumerate((None, 0))]
    spread, whole = (
        [one.tokens for one in generate(model, prompts, plans, batch_tokens=None, **quiet)[0]]
        for model in spread_and_whole
    )
    assert spread == whole


def test_influence(spread_and_whole):
    items = [(tokens(3, 24), [False] * 12 + [True] * 12)]
    options = {"objective": "cross-entropy", "block": 4, "sum": "abs", "keep": "blocks"}
    (spread,), (whole,) = (list(profile(model.module, items, **options)) for model in spread_and_whole)
    assert spread.loss == pytest.approx(whole.loss, rel=1e-6)
    for a, b in zip(spread.layers, whole.layers, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-4, atol=1e-8)
