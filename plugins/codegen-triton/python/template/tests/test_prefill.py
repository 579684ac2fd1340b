"""Prefill against masked attention in float64: shapes, padded rows, and tokens that follow cached ones."""

import random
from collections.abc import Sequence

import pytest
import torch
from helpers import BOUNDS, CUDA, DEVICE, DTYPES, error, normal, poisoned, random_windows
from tessera_kernels import Past, constants, prefill, reference, spans, windowed_prefill
from tessera_kernels.tiles import PrefillTiles

B, SINK = constants.BLOCK, constants.SINK

PREFILL = [
    # group, KV heads, dim, q_len, kv_len, tiles
    (1, 2, 16, 1, 1, None),
    (1, 2, 32, 37, 37, PrefillTiles(16, 16)),
    (2, 2, 64, 130, 130, PrefillTiles(64, 64)),
    (4, 1, 64, 5 * B + 3, 5 * B + 3, PrefillTiles(32, 32, bulk=True)),
    (8, 1, 16, 50, 50, PrefillTiles(16, 32, groupwise=False)),
    (2, 1, 80, 40, 2 * B + 41, PrefillTiles(32, 16)),
    (1, 1, 128, 3, 4 * B + 1, PrefillTiles(16, 64, bulk=True)),
    (3, 1, 256, 33, 33, PrefillTiles(16, 16)),
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
    out = windowed_prefill(q, k, v, windows, scale=0.3, tiles=PrefillTiles(16, 16))
    for row in range(2):
        exact = reference.attention(q[row, None], k[row, None], v[row, None], windows[row], scale=0.3)
        assert error(out[row, None], exact) < BOUNDS[torch.float32]


def test_prefill_does_not_read_keys_outside_its_segments():
    kv_len, q_len, tile = SINK + 6 * B + 7, 16, 16
    q, k, v = normal(4, 1, 1, q_len, 16), normal(5, 1, 1, kv_len, 16), normal(6, 1, 1, kv_len, 16)
    exact = reference.attention(q, k, v, [2])
    visited = torch.zeros(kv_len, dtype=torch.bool)
    for segment in spans.prefill_segments(2, kv_len - q_len, kv_len - 1, tile):
        visited[segment.start : segment.end] = True
    assert not visited.all()
    k[:, :, ~visited] = float("nan")
    v[:, :, ~visited] = float("nan")
    out = windowed_prefill(q, k, v, [2], tiles=PrefillTiles(q_len, tile))
    assert error(out, exact) < BOUNDS[torch.float32]


class Padded:
    """A batch of padded rows with poison in all that is not real: padding, and slots that no position has."""

    def __init__(
        self,
        seed: int,
        group: int,
        kv_heads: int,
        dim: int,
        starts: Sequence[int],
        lengths: Sequence[int],
        tokens: int,
        q_len: int,
        past: Sequence[int] | None,
        dtype: torch.dtype,
    ):
        rng, batch = random.Random(seed), len(starts)
        self.starts, self.lengths = starts, lengths
        self.q = normal(seed, batch, group * kv_heads, q_len, dim, dtype=dtype)
        self.k = normal(seed + 1000, batch, kv_heads, tokens, dim, dtype=dtype)
        self.v = normal(seed + 2000, batch, kv_heads, tokens, dim, dtype=dtype)
        longest = max((past or [0])[row] + lengths[row] if past else lengths[row] for row in range(batch))
        self.windows = [random_windows(rng, group * kv_heads, max(longest, 1)) for _ in range(batch)]
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            for tensor, first in ((self.q, start - tokens + q_len), (self.k, start), (self.v, start)):
                tensor[row, :, : max(first, 0)] = float("nan")
                tensor[row, :, max(first + length, 0) :] = float("nan")
        self.history: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self.past: Past | None = None
        if past is not None:
            self.cache(rng, group, kv_heads, dim, past, dtype)

    def cache(self, rng, group, kv_heads, dim, past, dtype):
        rings = [
            B * (max(max(row[kv * group : (kv + 1) * group]) for row in self.windows) + rng.randint(0, 1))
            for kv in range(kv_heads)
        ]
        starts = [sum(SINK + ring for ring in rings[:kv]) for kv in range(kv_heads)]
        shape = (len(past), sum(SINK + ring for ring in rings), dim)
        keys, values = (torch.full(shape, float("nan"), dtype=dtype, device=DEVICE) for _ in range(2))
        self.history = []
        for row, cached in enumerate(past):
            old = [normal(row + 3000 + 10 * i, kv_heads, cached, dim, dtype=dtype) for i in range(2)]
            for kv, (start, ring) in enumerate(zip(starts, rings, strict=True)):
                for p in range(cached):
                    slot = start + (p if p < SINK else SINK + (p - SINK) % ring)
                    keys[row, slot], values[row, slot] = old[0][kv, p], old[1][kv, p]
            self.history.append((old[0], old[1]))
        given = torch.tensor(past, dtype=torch.int32, device=DEVICE)
        self.past = Past(keys, values, given, starts, rings)

    def error(self, tiles: PrefillTiles | None) -> float:
        starts, lengths = (torch.tensor(t, device=DEVICE) for t in (self.starts, self.lengths))
        out = windowed_prefill(
            self.q,
            self.k,
            self.v,
            self.windows,
            out=poisoned(self.q),
            starts=starts,
            lengths=lengths,
            past=self.past,
            tiles=tiles,
        )
        exact = reference.padded(self.q, self.k, self.v, self.windows, self.starts, self.lengths, self.history)
        assert not out[exact == 0].any()
        return error(out, exact)


S = PrefillTiles(16, 16)
PADDED = [
    # group, KV heads, dim, starts, lengths, tokens, q_len, cached positions, tiles
    (2, 1, 16, [0, 13, 40], [41, 28, 1], 41, 41, None, S),  # left
    (2, 1, 32, [0, 0, 0], [70, 33, 0], 70, 70, None, PrefillTiles(32, 16, bulk=True)),  # right, an empty row
    (1, 2, 16, [5, 9], [30, 17], 44, 44, None, PrefillTiles(16, 32)),  # both
    (2, 2, 16, [0, 20], [60, 40], 60, 25, None, S),  # the last queries of padded rows
    (2, 1, 16, [0, 0], [40, 40], 40, 40, [3 * B, SINK + 2 * B + 5], S),  # a chunk after cached positions
    (1, 2, 24, [0, 7, 0], [21, 14, 9], 21, 21, [0, 7 * B + 1, SINK], PrefillTiles(16, 32)),
    (2, 1, 16, [0, 0, 2], [1, 1, 1], 3, 3, [1, 3 * B, 5 * B - 1], S),
    (1, 1, 64, [11], [2 * B + 1], 2 * B + 12, B, [4 * B + 3], PrefillTiles(32, 32, groupwise=False)),
]


@pytest.mark.parametrize(
    ("case", "dtype"),
    # Half precision where it costs little: the interpreter is slow.
    [
        (case, dtype)
        for case in range(len(PADDED))
        for dtype in DTYPES
        if CUDA or dtype == torch.float32 or case in (2, 5)
    ],
)
def test_padded_rows_and_cached_positions(case, dtype):
    group, kv_heads, dim, starts, lengths, tokens, q_len, past, tiles = PADDED[case]
    batch = Padded(case, group, kv_heads, dim, starts, lengths, tokens, q_len, past, dtype)
    assert batch.error(tiles) < BOUNDS[dtype]


def test_a_prompt_in_chunks_equals_the_whole_prompt():
    """Each chunk attends to the cached positions and itself, then is appended."""
    heads, kv_heads, dim, length = 2, 1, 16, SINK + 5 * B + 7
    q, k, v = normal(1, 1, heads, length, dim), normal(2, 1, kv_heads, length, dim), normal(3, 1, kv_heads, length, dim)
    windows, ring = [2, 3], 3 * B
    cached = torch.full((2, 1, SINK + ring, dim), float("nan"), device=DEVICE)
    pieces = []
    for first in range(0, length, 29):
        chunk = slice(first, min(first + 29, length))
        counted = torch.tensor([first], device=DEVICE)
        past = Past(cached[0], cached[1], counted, [0], [ring])
        pieces.append(windowed_prefill(q[:, :, chunk], k[:, :, chunk], v[:, :, chunk], windows, past=past, tiles=S))
        for p in range(first, chunk.stop):
            slot = p if p < SINK else SINK + (p - SINK) % ring
            cached[0, 0, slot], cached[1, 0, slot] = k[0, 0, p], v[0, 0, p]
    assert error(torch.cat(pieces, dim=2), reference.attention(q, k, v, windows)) < BOUNDS[torch.float32]


def test_the_plan_end_to_end():
    heads, kv_heads, dim = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
    starts, lengths, n = [3, 0], [SINK + B, SINK + B + 3], 4 * B
    q = normal(10, 2, heads, SINK + B + 3, dim)
    k, v = normal(11, 2, kv_heads, SINK + B + 3, dim), normal(12, 2, kv_heads, SINK + B + 3, dim)
    out = prefill(q, k, v, 0, length=n, starts=torch.tensor(starts, device=DEVICE))
    exact = reference.padded(q, k, v, [spans.layer_windows(0, n)] * 2, starts, lengths)
    assert error(out, exact) < BOUNDS[torch.float32]


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
    with pytest.raises(ValueError, match="must be positive"):
        windowed_prefill(q, k, k, [1, 1, 1, 1], scale=-1.0)
    with pytest.raises(ValueError, match="starts and lengths must be 1 integers"):
        windowed_prefill(q, k, k, [1, 1, 1, 1], starts=torch.zeros(2, dtype=torch.int32, device=DEVICE))


def test_a_past_that_does_not_fit_is_refused():
    q, k, windows = normal(13, 1, 4, 8, 16), normal(14, 1, 2, 8, 16), [1, 1, 2, 1]
    slots = 2 * SINK + 4 * B
    cached = normal(15, 1, slots, 16)
    counted = torch.zeros(1, dtype=torch.int32, device=DEVICE)
    good = Past(cached, cached, counted, [0, SINK + 2 * B], [2 * B, 2 * B])
    windowed_prefill(q, k, k, windows, past=good, tiles=S)
    for change, message in (
        ({"keys": cached[0]}, "one shape of 3"),
        ({"keys": cached[..., :8], "values": cached[..., :8]}, "do not fit keys"),
        ({"keys": cached.half()}, "dtype and device"),
        ({"lengths": counted.expand(2)}, "must be 1 integers"),
        ({"starts": [0]}, "a start and a ring"),
        ({"rings": [2 * B, B]}, "cannot hold a window of 2 blocks"),
        ({"rings": [B + 1, 2 * B]}, "cannot hold a window"),
        ({"starts": [0, SINK + 2 * B + 1]}, "ends in slot"),
    ):
        with pytest.raises(ValueError, match=message):
            windowed_prefill(q, k, k, windows, past=good._replace(**change), tiles=S)
    heads, kv_heads, dim = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
    q, k = normal(1, 1, heads, 2, dim), normal(2, 1, kv_heads, 2, dim)
    with pytest.raises(ValueError, match="length N must be given"):
        prefill(q, k, k, 0, past=good)


@pytest.mark.parametrize("seed", range(100 if CUDA else 4))
def test_random_cases(seed):
    rng = random.Random(seed)
    dtype = rng.choice(DTYPES)
    most = 2100 if CUDA else 90
    group, kv_heads = rng.choice([1, 2, 3, 4, 8, 16] if CUDA else [1, 2, 3]), rng.choice([1, 2])
    dim, rows = rng.choice([16, 40, 64, 80, 96, 128, 192, 256] if CUDA else [16, 40]), rng.choice([1, 2, 3])
    tokens = rng.choice([1, 17, 63, 64, 65, rng.randint(1, most), most])
    starts = [rng.choice([0, rng.randint(0, tokens)]) for _ in range(rows)]
    lengths = [rng.choice([tokens - start, rng.randint(0, tokens - start)]) for start in starts]
    starts[0], lengths[0] = 0, tokens
    q_len = rng.choice([tokens, tokens, rng.randint(1, tokens)])
    past = rng.choice([None, [rng.choice([0, rng.randint(0, most)]) for _ in range(rows)]])
    batch = Padded(seed, group, kv_heads, dim, starts, lengths, tokens, q_len, past, dtype)
    assert batch.error(None if CUDA else rng.choice([S, PrefillTiles(32, 16), PrefillTiles(16, 32)])) < BOUNDS[dtype]
