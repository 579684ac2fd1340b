"""FlexAttention on a GPU, against the mask that the CPU uses."""

from __future__ import annotations

import random

import pytest
import torch

from tessera_worker import flex
from tessera_worker.protocol import Plan
from tessera_worker.windows import Reading, keep

CUDA = torch.device("cuda")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def case(seed: int) -> tuple[Reading, int, int, int, int]:
    """A reading, rows, query heads, slots and queries."""
    draw = random.Random(seed)
    rows, heads = draw.choice([1, 3]), 4
    queries = draw.randint(128, 700)
    slots = queries + draw.choice([0, draw.randint(1, 500)])
    block = draw.choice([16, 32, 64, 96, 128])
    windows = [[draw.randint(1, 8) for _ in range(heads)]]
    plan = Plan(block, block * draw.randint(0, 2), windows) if seed % 3 else None
    offsets = tuple(draw.randint(0, slots - 1) for _ in range(rows)) if seed % 2 else None
    return Reading(offsets, plan), rows, heads, slots, queries


@pytest.mark.parametrize("seed", range(24))
def test_the_block_mask_has_each_block_that_is_read_and_whole_ones_only_where_all_is(seed):
    what, rows, heads, slots, queries = case(seed)
    place = range(slots - queries, slots)
    cpu = torch.device("cpu")
    kept = keep(what, what.windows(0), place, slots, cpu).expand(rows, heads, queries, slots)
    blocks = flex.block_mask(what, what.windows(0), rows, heads, place, cpu)
    seen = torch.zeros(rows, heads, queries, slots, dtype=torch.int8)
    for kind, count, indices in (
        (1, blocks.kv_num_blocks, blocks.kv_indices),
        (2, blocks.full_kv_num_blocks, blocks.full_kv_indices),
    ):
        for b, h, q in torch.cartesian_prod(
            *(torch.arange(n) for n in (rows, heads, count.shape[2]))
        ).tolist():
            head = min(h, count.shape[1] - 1)
            for k in indices[b, head, q, : count[b, head, q]].tolist():
                size = flex.BLOCK
                seen[b, h, q * size : (q + 1) * size, k * size : (k + 1) * size] = kind
    assert bool((seen[kept] > 0).all())
    assert bool(kept[seen == 2].all())
    q = torch.arange(queries)[None, None, :, None]
    k = torch.arange(slots)[None, None, None, :]
    b, h = torch.arange(rows)[:, None, None, None], torch.arange(heads)[None, :, None, None]
    assert torch.equal(blocks.mask_mod(b, h, q, k).expand_as(kept) & (seen > 0), kept & (seen > 0))


@gpu
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_it_is_masked_attention(seed, kv_heads):
    what, rows, heads, slots, queries = case(seed)
    torch.manual_seed(seed)
    query = torch.randn(rows, heads, queries, 64, device=CUDA)
    key, value = torch.randn(2, rows, kv_heads, slots, 64, device=CUDA)
    what.masks.clear()
    out = flex.attend(query, key, value, None, what, what.windows(0))
    mask = keep(what, what.windows(0), range(slots - queries, slots), slots, CUDA)
    key, value = (x.repeat_interleave(heads // kv_heads, 1) for x in (key, value))
    scores = (query.double() @ key.double().transpose(2, 3)) / 8
    scores = scores.masked_fill(~mask, -torch.inf)
    torch.testing.assert_close(out.double(), torch.softmax(scores, -1) @ value.double(), rtol=1e-3, atol=1e-3)
