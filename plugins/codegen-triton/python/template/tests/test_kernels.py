"""The kernels against masked attention in float64. Errors are relative norms: ||ours - exact|| / ||exact||."""

import random

import pytest
import torch
from helpers import BOUNDS, CUDA, DEVICE, DTYPES, error, normal, poisoned, random_windows
from tessera_kernels import constants, decode, layer_windows, prefill, reference, spans, windowed_prefill

B = constants.BLOCK

PREFILL = [
    # group, KV heads, dim, q_len, kv_len, tiles
    (1, 2, 16, 1, 1, None),
    (1, 2, 32, 37, 37, (16, 16)),
    (2, 2, 64, 130, 130, None),
    (4, 1, 64, 5 * B + 3, 5 * B + 3, (32, 32)),
    (8, 1, 16, 50, 50, (16, 32)),
    (2, 1, 80, 40, 2 * B + 41, (32, 16)),
    (1, 1, 128, 3, 4 * B + 1, (16, 64)),
    (3, 1, 256, 33, 33, (16, 16)),
]


@pytest.mark.parametrize("case", range(len(PREFILL)))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_prefill_equals_masked_attention(case, dtype):
    group, kv_heads, dim, q_len, kv_len, tiles = PREFILL[case]
    heads, batch = group * kv_heads, 1 + case % 2
    q = normal(case, batch, heads, q_len, dim, dtype=dtype)
    k = normal(case + 100, batch, kv_heads, kv_len, dim, dtype=dtype)
    v = normal(case + 200, batch, kv_heads, kv_len, dim, dtype=dtype)
    windows = random_windows(random.Random(case), heads, kv_len)
    out = windowed_prefill(q, k, v, windows, out=poisoned(q), tiles=tiles)
    assert error(out, reference.attention(q, k, v, windows)) < BOUNDS[dtype]


def test_prefill_takes_windows_per_row_and_strided_inputs():
    q = normal(1, 2, 40, 4, 16).transpose(1, 2)
    k = normal(2, 2, 40, 2, 16).transpose(1, 2)
    v = normal(3, 2, 40, 2, 16).transpose(1, 2)
    windows = [[1, 2, 3, 1], [2, 1, 1, 3]]
    out = windowed_prefill(q, k, v, windows, scale=0.3, tiles=(16, 16))
    for row in range(2):
        exact = reference.attention(q[row, None], k[row, None], v[row, None], windows[row], scale=0.3)
        assert error(out[row, None], exact) < BOUNDS[torch.float32]


def test_prefill_does_not_read_keys_outside_its_segments():
    kv_len, q_len, tile = constants.SINK + 6 * B + 7, 16, 16
    q, k, v = normal(4, 1, 1, q_len, 16), normal(5, 1, 1, kv_len, 16), normal(6, 1, 1, kv_len, 16)
    exact = reference.attention(q, k, v, [2])
    visited = torch.zeros(kv_len, dtype=torch.bool)
    for segment in spans.prefill_segments(2, kv_len - q_len, kv_len - 1, tile):
        visited[segment.start : segment.end] = True
    assert not visited.all()
    k[:, :, ~visited] = float("nan")
    v[:, :, ~visited] = float("nan")
    assert error(windowed_prefill(q, k, v, [2], tiles=(q_len, tile)), exact) < BOUNDS[torch.float32]


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
    out = windowed_prefill(q, k, v, windows, out=poisoned(q))
    assert error(out, reference.attention(q, k, v, windows)) < BOUNDS[dtype]
