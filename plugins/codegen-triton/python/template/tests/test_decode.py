"""Decode against masked attention in float64: from a dense cache, and from the plan's."""

import random

import pytest
import torch
from helpers import BOUNDS, CUDA, DEVICE, DTYPES, error, normal, poisoned, random_windows
from tessera_kernels import LayerCache, cached_decode, constants, reference, spans, windowed_decode
from tessera_kernels.splits import UNIT, chunk_size

B, SINK = constants.BLOCK, constants.SINK

DECODE = [
    # group, KV heads, dim, lengths, capacity, chunk
    (1, 2, 16, [1], 1, None),
    (2, 2, 64, [100, 37], 128, 64),
    (4, 1, 32, [6 * B + 5], 7 * B, 64),
    (8, 1, 64, [150, 0, 1], 160, None),
    (4, 2, 80, [70, 130], 130, 32),
    (1, 1, 256, [45], 64, 16),
    (3, 1, 128, [2 * B], 3 * B, None),
]


@pytest.mark.parametrize("case", range(len(DECODE)))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_decode_equals_masked_attention(case, dtype):
    group, kv_heads, dim, lengths, capacity, chunk = DECODE[case]
    heads, batch = group * kv_heads, len(lengths)
    q = normal(case, batch, heads, dim, dtype=dtype)
    k = normal(case + 100, batch, kv_heads, capacity, dim, dtype=dtype)
    v = normal(case + 200, batch, kv_heads, capacity, dim, dtype=dtype)
    windows = random_windows(random.Random(case), heads, max(lengths))
    given = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    out = windowed_decode(q, k, v, given, windows, out=poisoned(q), chunk=chunk)
    assert error(out, reference.decode(q, k, v, lengths, [windows] * batch)) < BOUNDS[dtype]
    assert out.isfinite().all()


def test_decode_takes_strided_inputs_and_a_scale():
    q = normal(1, 2, 8, 16)[:, ::2]
    k, v = (normal(seed, 2, 60, 2, 16).transpose(1, 2) for seed in (2, 3))
    lengths = torch.tensor([60, 33], device=DEVICE)
    out = windowed_decode(q, k, v, lengths, [1, 2, 3, 1], scale=0.3)
    assert error(out, reference.decode(q, k, v, [60, 33], [[1, 2, 3, 1]] * 2, scale=0.3)) < BOUNDS[torch.float32]


def test_decode_does_not_read_keys_outside_its_ranges():
    length, capacity = SINK + 5 * B + 3, SINK + 7 * B
    windows = (2, 3)
    q, k, v = normal(7, 1, 2, 16), normal(8, 1, 1, capacity, 16), normal(9, 1, 1, capacity, 16)
    exact = reference.decode(q, k, v, [length], [windows])
    unread = torch.ones(capacity, dtype=torch.bool)
    for start, end in spans.decode_ranges(windows, length):
        unread[start:end] = False
    assert unread.sum() > B
    k[:, :, unread] = float("nan")
    v[:, :, unread] = float("nan")
    lengths = torch.tensor([length], device=DEVICE)
    assert error(windowed_decode(q, k, v, lengths, windows), exact) < BOUNDS[torch.float32]


def padded(new: torch.Tensor, lengths: list[int], starts: list[int], width: int) -> torch.Tensor:
    """Rows of `new` [batch, KV heads, tokens, dim], moved to their starts, with poison around them."""
    out = torch.full((*new.shape[:2], width, new.shape[3]), float("nan"), dtype=new.dtype, device=DEVICE)
    for row, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        out[row, :, start : start + length] = new[row, :, :length]
    return out


@pytest.mark.parametrize("seed", range(100 if CUDA else 16))
def test_random_cases_from_the_plans_cache(seed):
    """Rows that came in padded pieces; what the cache does not keep is poison."""
    rng = random.Random(seed)
    dtype = DTYPES[seed % 3]
    group, kv_heads = rng.choice([1, 2, 3, 4, 8, 16] if CUDA else [1, 2, 4]), rng.choice([1, 2, 4] if CUDA else [1, 2])
    dim = rng.choice([16, 40, 64, 80, 96, 128, 192, 256] if CUDA else [16, 24, 64])
    batch, heads = rng.choice([1, 2, 3] if CUDA else [1, 2]), group * kv_heads
    most = rng.choice([1, SINK + 1, SINK + B, SINK + 5 * B + 3, 40 * B if CUDA else 6 * B])
    lengths = [rng.randint(1, most) for _ in range(batch)]
    windows = random_windows(rng, heads, rng.randint(1, most))
    if rng.random() < 0.5:
        windows = [window for window in windows[::group] for _ in range(group)]
    k, v = (normal(seed + add, batch, kv_heads, max(lengths), dim, dtype=dtype) for add in (100, 200))
    cache = LayerCache(windows, batch, kv_heads, dim, dtype, DEVICE)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    past = [0] * batch
    for piece in range(3):
        left = [total - before for total, before in zip(lengths, past, strict=True)]
        counts = left if piece == 2 else [rng.randint(0, rest) for rest in left]
        width = max(counts) + rng.choice([0, 5])
        starts = [rng.choice([0, width - count]) for count in counts]
        if width > 0:
            tokens = torch.tensor([*zip(starts, counts, past, strict=True)], dtype=torch.int32, device=DEVICE)
            rows = [slice(before, before + count) for before, count in zip(past, counts, strict=True)]
            longest = max(counts)
            pieces = []
            for whole in (k, v):
                new = torch.zeros(batch, kv_heads, longest, dim, dtype=dtype, device=DEVICE)
                for row, part in enumerate(rows):
                    new[row, :, : counts[row]] = whole[row, :, part]
                pieces.append(padded(new, counts, starts, width))
            cache.append(*pieces, tokens[:, 2], tokens[:, 0], tokens[:, 1])
        past = [before + count for before, count in zip(past, counts, strict=True)]
    q = normal(seed, batch, heads, dim, dtype=dtype)
    given = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    out = cached_decode(q, cache, given, out=poisoned(q), chunk=rng.choice([None, None, None, 32]))
    assert error(out, reference.decode(q, k, v, lengths, [windows] * batch)) < BOUNDS[dtype]


def test_wrong_shapes_are_refused():
    q, k, lengths = normal(13, 1, 4, 16), normal(14, 1, 2, 8, 16), torch.tensor([8], device=DEVICE)
    with pytest.raises(ValueError, match="one per query head"):
        windowed_decode(q, k, k, lengths, [1, 1])
    with pytest.raises(ValueError, match="keeps its own key"):
        windowed_decode(q, k, k, lengths, [0, 1, 1, 1])
    with pytest.raises(ValueError, match="lengths must be 1 integers"):
        windowed_decode(q, k, k, torch.tensor([8, 8], device=DEVICE), [1, 1, 1, 1])
    cache = LayerCache([1, 1], 1, 1, 16, torch.float32, DEVICE)
    with pytest.raises(ValueError, match="for 2 query heads, q has 4"):
        cached_decode(q, cache, lengths)


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
@pytest.mark.parametrize("dependent", [False, True])
def test_decode_in_a_cuda_graph_follows_lengths_on_the_device(dependent):
    if dependent and torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("needs programmatic dependent launch")
    from tessera_kernels.splits import division

    q, k, v = normal(1, 2, 4, 64), normal(2, 2, 2, 512, 64), normal(3, 2, 2, 512, 64)
    lengths, windows = torch.tensor([100, 300], device=DEVICE), [1, 2, 3, 4]
    out = torch.empty_like(q)
    how = division(64, q.dtype, q.device)._replace(dependent=dependent)

    def step() -> None:
        windowed_decode(q, k, v, lengths, windows, out=out, division=how, chunk=64)

    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    lengths.copy_(torch.tensor([512, 17]))
    graph.replay()
    assert error(out, reference.decode(q, k, v, [512, 17], [windows] * 2)) < BOUNDS[torch.float32]


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
def test_caches_of_more_than_31_bits_of_elements():
    dim, windows = 256, [64, 64]
    batch = (1 << 31) // ((SINK + 64 * B) * dim) + 2
    if torch.cuda.mem_get_info()[0] < 5 * batch * (SINK + 64 * B) * dim:
        pytest.skip("needs more memory")
    cache = LayerCache(windows, batch, 1, dim, torch.bfloat16, DEVICE)
    assert cache.keys[-1].storage_offset() >= 1 << 31
    k, v = normal(1, 1, 1, 300, dim, dtype=torch.bfloat16), normal(2, 1, 1, 300, dim, dtype=torch.bfloat16)
    past = torch.zeros(batch, dtype=torch.int32, device=DEVICE)
    cache.append(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1), past)
    q = normal(3, 1, 2, dim, dtype=torch.bfloat16)
    out = cached_decode(q.expand(batch, -1, -1), cache, past + 300)
    exact = reference.decode(q, k, v, [300], [windows])
    assert error(out[-1:], exact) < BOUNDS[torch.bfloat16]
    assert error(out[:1], exact) < BOUNDS[torch.bfloat16]


def test_unequal_spans_are_divided_evenly():
    for kept in ([8192, 1024, 512, 4096], [1024] * 8, [16384] + [128] * 7, [64]):
        for batch in (1, 3, 8, 64):
            for programs, stretch in ((132, 2), (264, 2), (264, 1), (8, 4)):
                chunk = chunk_size(tuple(kept), batch, programs, stretch)
                items = batch * sum(-(-keys // chunk) for keys in kept)
                even = sum(kept) * batch / programs
                assert chunk % UNIT == 0
                assert chunk <= max(stretch * (even + 1) + max(UNIT, even / 64), 4 * UNIT) + UNIT
                assert items <= programs + batch * len(kept)
