"""The kernels against masked attention in float64."""

import random

import pytest
import torch
from helpers import BOUNDS, CUDA, DEVICE, DTYPES, error, normal, poisoned, random_windows
from tessera_kernels import (
    constants,
    decode,
    layer_windows,
    prefill,
    reference,
    spans,
    windowed_decode,
    windowed_prefill,
)

B = constants.BLOCK

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
    rng = random.Random(case)
    windows = [random_windows(rng, heads, max(length, 1)) for length in lengths]
    given = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    out = windowed_decode(q, k, v, given, windows, out=poisoned(q), chunk=chunk)
    assert error(out, reference.decode(q, k, v, lengths, windows)) < BOUNDS[dtype]
    assert out.isfinite().all()


def test_decode_does_not_read_keys_outside_its_ranges():
    length, capacity = constants.SINK + 5 * B + 3, constants.SINK + 7 * B
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


def test_the_plan_end_to_end_prefill_then_decode():
    """The token that decode computes equals the last row that prefill computes."""
    heads, kv_heads, dim = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
    length = constants.SINK + 2 * B + 9
    q = normal(10, 1, heads, length, dim)
    k, v = normal(11, 1, kv_heads, length, dim), normal(12, 1, kv_heads, length, dim)
    layer = constants.LAYERS - 1
    n = 4 * length
    # One tile of queries is enough: the interpreter is slow on wide models.
    out = prefill(q[:, :, -8:], k, v, layer, length=n)
    exact = reference.attention(q[:, :, -8:], k, v, layer_windows(layer, n))
    assert error(out, exact) < BOUNDS[torch.float32]
    step = decode(q[:, :, -1], k, v, torch.tensor([length], device=DEVICE), layer, length=n)
    assert error(step, exact[:, :, -1]) < BOUNDS[torch.float32]


def test_wrong_shapes_are_refused():
    q, k = normal(13, 1, 4, 8, 16), normal(14, 1, 2, 8, 16)
    with pytest.raises(ValueError, match="one per query head"):
        windowed_prefill(q, k, k, [1, 1])
    with pytest.raises(ValueError, match="at least 1 block"):
        windowed_prefill(q, k, k, [0, 1, 1, 1])
    with pytest.raises(ValueError, match="share 3 KV heads"):
        windowed_prefill(q, normal(1, 1, 3, 8, 16), normal(1, 1, 3, 8, 16), [1, 1, 1, 1])
    with pytest.raises(ValueError, match="need as many keys"):
        windowed_prefill(q, k[:, :, :4], k[:, :, :4], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="float16, bfloat16 or float32"):
        windowed_prefill(q.double(), k.double(), k.double(), [1, 1, 1, 1])


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
@pytest.mark.parametrize("seed", range(60))
def test_random_cases_on_the_gpu(seed):
    rng = random.Random(seed)
    dtype = rng.choice(DTYPES)
    group, kv_heads = rng.choice([1, 2, 3, 4, 8, 16]), rng.choice([1, 2, 4])
    dim, batch = rng.choice([16, 40, 64, 80, 96, 128, 192, 256]), rng.choice([1, 2, 3])
    kv_len = rng.choice([1, 17, 63, 64, 65, 200, 1000, 2049])
    q_len = rng.choice([kv_len, kv_len, rng.randint(1, kv_len)])
    heads = group * kv_heads
    q = normal(seed, batch, heads, q_len, dim, dtype=dtype)
    k = normal(seed + 100, batch, kv_heads, kv_len, dim, dtype=dtype)
    v = normal(seed + 200, batch, kv_heads, kv_len, dim, dtype=dtype)
    windows = random_windows(rng, heads, kv_len)
    lengths = [rng.randint(1, kv_len) for _ in range(batch)]
    given = torch.tensor(lengths, device=DEVICE)
    last = q[:, :, -1]
    out = windowed_decode(last, k, v, given, windows, out=poisoned(last))
    assert error(out, reference.decode(last, k, v, lengths, [windows] * batch)) < BOUNDS[dtype]


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
def test_decode_in_a_cuda_graph_follows_lengths_on_the_device():
    q, k, v = normal(1, 2, 4, 64), normal(2, 2, 2, 512, 64), normal(3, 2, 2, 512, 64)
    lengths, windows = torch.tensor([100, 300], device=DEVICE), [1, 2, 3, 4]
    out = torch.empty_like(q)
    windowed_decode(q, k, v, lengths, windows, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        windowed_decode(q, k, v, lengths, windows, out=out)
    lengths.copy_(torch.tensor([512, 17]))
    graph.replay()
    exact = reference.decode(q, k, v, [512, 17], [windows] * 2)
    assert error(out, exact) < BOUNDS[torch.float32]
