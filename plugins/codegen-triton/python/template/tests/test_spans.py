"""The span arithmetic against values that the emitter computed from the same plan."""

import json
from pathlib import Path

import pytest
import torch
from tessera_kernels import constants, density, layer_windows, reference, spans

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["lengths"], ids=lambda case: str(case["length"]))
def test_windows_and_densities_at_a_length(case):
    length = case["length"]
    windows = [list(layer_windows(layer, length)) for layer in range(constants.LAYERS)]
    assert windows == case["windows"]
    assert density(length) == pytest.approx(case["density"], rel=1e-12)


def test_prefill_segments():
    for case in GOLDEN["segments"]:
        args = (case["window"], case["first"], case["last"], case["tile"], tuple(case["keys"]))
        assert [list(s) for s in spans.prefill_segments(*args)] == case["segments"], case


def test_order_of_heads():
    for case in GOLDEN["orders"]:
        assert spans.head_order(tuple(case["windows"]), spans.GROUP) == case["order"], case


def test_decode_work():
    for case in GOLDEN["work"]:
        windows = tuple(case["windows"])
        args = (windows, case["group"], case["length"], case["chunk"])
        assert [list(item) for item in spans.decode_work(*args)] == case["items"], case


def test_segments_cover_every_kept_pair_once():
    length = 6 * constants.BLOCK + 5
    for window in (1, 2, 4, 9):
        kept = reference.mask([window], length, length)[0]
        for first in range(0, length, 32):
            last = min(first + 32, length) - 1
            visits = torch.zeros(length, dtype=torch.int32)
            for segment in spans.prefill_segments(window, first, last, 32):
                visits[segment.start : segment.end] += 1
                if not segment.masked:
                    assert kept[first : last + 1, segment.start : segment.end].all()
            assert visits.max() == 1
            assert (visits[kept[first : last + 1].any(0)] == 1).all()
