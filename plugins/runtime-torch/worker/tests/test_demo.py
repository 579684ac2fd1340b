"""The demo model, against what transformers computed with it elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tessera_worker.cache import KvCache
from tessera_worker.generate import Prompt, generate
from tessera_worker.models import Model
from tessera_worker.score import Row, score
from tessera_worker.windows import Reading

from .models import open_model
from .reference import quiet

ROOT = Path(__file__).parents[4]
GOLDEN = json.loads((ROOT / "plugins/runtime-cpu/test/golden/demo.json").read_text())


@pytest.fixture(scope="module")
def demo() -> Model:
    return open_model(ROOT / "packages/demo/model")


def test_losses_and_predictions_are_the_golden_ones(demo):
    ids = GOLDEN["ids"]
    (result,), _ = score(demo, [Row(ids[:1], ids[1:], None)], [], **quiet)
    assert result.loss == pytest.approx(GOLDEN["loss"], abs=1e-4)
    assert result.predicted == GOLDEN["predicted"]


def test_logits_are_the_golden_ones(demo):
    ids = GOLDEN["ids"]
    with torch.inference_mode():
        logits = demo.forward(torch.tensor([ids]), KvCache(demo.layers, len(ids)), Reading(), len(ids))[0]
    for each in GOLDEN["logits"]:
        assert logits[each["position"]].tolist() == pytest.approx(each["values"], abs=1e-3)


def test_it_retrieves_what_the_prompt_holds(demo):
    ids = GOLDEN["ids"]
    answer = len(ids) - 8
    expected = GOLDEN["predicted"][answer - 1 :]
    prompt = Prompt(ids[:answer], len(expected), frozenset([1]), None, None)
    # Beside a shorter prompt, so with padding.
    other = Prompt(ids[:40], 2, frozenset(), None, None)
    results, _ = generate(demo, [other, prompt], [], batch_tokens=None, **quiet)
    assert (results[1].tokens, results[1].ended) == (expected, "stop")
