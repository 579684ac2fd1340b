"""The plan's KV cache: what it keeps, what it costs, and that decode from it is attention under the plan's mask."""

import json
from pathlib import Path

import pytest
import torch
from helpers import BOUNDS, CUDA, DEVICE, error, normal, poisoned
from tessera_kernels import KVCache, LayerCache, attend, cached_decode, constants, layer_windows, reference
from tessera_kernels.layout import plan_slots

B, SINK = constants.BLOCK, constants.SINK
HEADS, KV_HEADS, DIM = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
F32 = torch.float32
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def tokens(*lengths: int) -> torch.Tensor:
    return torch.tensor(lengths, dtype=torch.int32, device=DEVICE)


class Sequence:
    """Keys and values of one layer's tokens, [batch, KV heads, length, dim], of which a cache has seen some."""

    def __init__(self, cache: LayerCache, length: int, seed: int = 0) -> None:
        batch, _, dim = cache.keys.shape
        kv_heads = len(cache.layout.starts)
        self.cache, self.seen, self.batch = cache, 0, batch
        self.k, self.v = (normal(seed + add, batch, kv_heads, length, dim) for add in (1, 2))
        self.q = normal(seed + 3, batch, len(cache.windows), dim)
        for buffer in (cache.keys, cache.values):
            buffer.fill_(float("nan"))

    def append(self, count: int) -> None:
        new = slice(self.seen, self.seen + count)
        self.cache.append(self.k[:, :, new], self.v[:, :, new], tokens(*[self.seen] * self.batch))
        self.seen += count

    def error(self, windows: list[int] | tuple[int, ...] | None = None) -> float:
        """Of decode at the last token seen, against attention under the mask of these windows."""
        lengths = [self.seen] * self.batch
        out = cached_decode(self.q, self.cache, tokens(*lengths), out=poisoned(self.q))
        rows = [self.cache.windows if windows is None else windows] * self.batch
        return error(out, reference.decode(self.q, self.k, self.v, lengths, rows))


@pytest.mark.parametrize("case", GOLDEN["lengths"], ids=lambda case: str(case["length"]))
def test_slots_and_bytes_at_a_length(case):
    length = case["length"]
    assert list(plan_slots(length)) == [sum(heads) for heads in case["slots"]]
    cache = KVCache(3, length, torch.bfloat16, "meta")
    assert [layer.layout.slots for layer in cache.layers] == [sum(heads) for heads in case["slots"]]
    assert cache.bytes() == 3 * 2 * 2 * DIM * sum(map(sum, case["slots"]))
    if length % B == 0 and length > SINK:
        assert cache.bytes() == 3 * case["kvBytes"]
    else:
        assert cache.bytes() >= 3 * case["kvBytes"]


def test_one_allocation_per_layer_holds_keys_of_all_kv_heads_and_another_their_values():
    cache = LayerCache([1, 2, 3, 1], 2, 2, 16, F32, DEVICE)
    assert cache.layout.starts == (0, SINK + 2 * B)
    assert cache.layout.rings == (2 * B, 3 * B)
    assert cache.keys.shape == cache.values.shape == (2, 2 * SINK + 5 * B, 16)


def test_a_ring_holds_what_the_mask_keeps_and_nothing_else_is_written():
    cache = LayerCache([2, 2, 1, 3], 1, 2, 16, F32, DEVICE)
    row = Sequence(cache, SINK + 6 * B)
    for count in (1, SINK + 3 * B, 1, B - 2, 2 * B):
        row.append(count)
        k, v = cache.dense(row.seen)
        for head, ring in enumerate(cache.layout.rings):
            held = torch.arange(row.seen, device=DEVICE)
            held = (held < SINK) | (held >= row.seen - ring)
            assert torch.equal(k[0, head, held], row.k[0, head, : row.seen][held])
            assert torch.equal(v[0, head, held], row.v[0, head, : row.seen][held])
            mask = reference.mask([ring // B], 1, row.seen, DEVICE)[0, 0]
            assert not (mask & ~held).any()
    unwritten = cache.keys.isnan().all(-1)
    assert not unwritten.any()


def test_tokens_in_pieces_fill_the_cache_as_tokens_at_once_do():
    whole, pieces = (LayerCache([2, 1], 2, 1, 16, F32, DEVICE) for _ in range(2))
    total = SINK + 4 * B + 5
    a, b = Sequence(whole, total), Sequence(pieces, total)
    a.append(total)
    for count in (3, B, 1, total - B - 4):
        b.append(count)
    assert torch.equal(whole.keys.nan_to_num(), pieces.keys.nan_to_num())
    assert torch.equal(whole.values.nan_to_num(), pieces.values.nan_to_num())


def test_decode_from_the_plans_cache_at_every_kind_of_length():
    layer = constants.LAYERS - 1
    n = SINK + 5 * B + 3
    cache = KVCache(1, n, F32, DEVICE).layers[layer]
    row = Sequence(cache, n + 2 * B)
    for count in (1, SINK, B - 1, 2 * B, n - SINK - 3 * B, 2 * B - 1):
        row.append(count)
        assert row.error(layer_windows(layer, n)) < BOUNDS[F32], row.seen


def resized(cache: LayerCache, windows: list[int], seen: int) -> None:
    now = tokens(*[seen] * cache.keys.shape[0])
    cache.resize(windows, now, now, 0)


def test_a_ring_that_grows_keeps_what_it_held_and_reads_nothing_that_it_lost():
    cache = LayerCache([2, 1], 1, 1, 16, F32, DEVICE)
    row = Sequence(cache, SINK + 9 * B)
    row.append(SINK + 4 * B + 5)
    first = row.seen - 2 * B
    resized(cache, [4, 1], row.seen)
    assert cache.layout.rings == (4 * B,)
    where = torch.arange(row.seen, device=DEVICE)
    k, _ = cache.dense(row.seen)
    assert torch.equal(k[0, 0, where >= first], row.k[0, 0, : row.seen][where >= first])
    for count in (1, B, 2 * B, B):
        row.append(count)
        # The head of the long window reads from the first token held; the plan's shorter window lay within.
        start = max((row.seen - 1) // B - 3, 0) * B
        lost = torch.arange(row.k.shape[2], device=DEVICE)
        lost = (lost >= SINK) & (lost < max(first, start))
        q, k, v = row.q[:, :1], row.k.clone(), row.v.clone()
        scores = (q.double()[:, :, None] @ k[:, :, : row.seen].double().transpose(-1, -2)) * 16**-0.5
        scores = scores.masked_fill(lost[: row.seen], float("-inf"))
        exact = (torch.softmax(scores, -1) @ v[:, :, : row.seen].double())[:, :, 0]
        out = cached_decode(row.q, cache, tokens(row.seen), out=poisoned(row.q))
        assert error(out[:, :1], exact) < BOUNDS[F32], row.seen
        short = reference.decode(row.q, row.k, row.v, [row.seen], [[4, 1]])
        assert error(out[:, 1:], short[:, 1:]) < BOUNDS[F32], row.seen


def test_a_ring_that_shrinks_drops_its_oldest_tokens_and_gives_memory_back():
    cache = LayerCache([5, 3], 2, 1, 16, F32, DEVICE)
    row = Sequence(cache, SINK + 9 * B)
    row.append(SINK + 6 * B + 5)
    before = cache.keys.nbytes
    resized(cache, [2, 1], row.seen)
    assert cache.keys.nbytes == before * (SINK + 2 * B) // (SINK + 5 * B)
    for count in (0, 1, B + 3):
        row.append(count) if count else None
        assert row.error() < BOUNDS[F32]


def test_a_growing_cache_is_never_below_the_plan_at_its_length():
    step = 4 * B
    cache = KVCache(1, 5, F32, DEVICE, step=step)
    assert cache.length == step
    planned = KVCache(1, step, F32, DEVICE).bytes()
    assert cache.bytes() == planned
    cache.reserve(step)
    assert cache.length == step
    cache.advance(step)
    cache.reserve(step + 1)
    assert cache.length == 2 * step
    assert cache.bytes() == KVCache(1, 2 * step, F32, DEVICE).bytes()
    cache.evict(step)
    assert cache.bytes() == planned
    with pytest.raises(ValueError, match="tokens already"):
        cache.grow(step)
    with pytest.raises(ValueError, match="cannot be cut"):
        cache.evict(step)


def test_a_fixed_cache_does_not_grow():
    cache = KVCache(1, 5 * B, F32, DEVICE)
    before = cache.bytes()
    cache.reserve(100 * B)
    assert (cache.length, cache.bytes()) == (5 * B, before)


def run(cache: KVCache, seed: int, count: int) -> torch.Tensor:
    """A step in the last layer."""
    batch = cache.lengths.shape[0]
    q = normal(seed, batch, HEADS, count, DIM)
    k, v = (normal(seed + add, batch, KV_HEADS, count, DIM) for add in (1000, 2000))
    cache.advance(count)
    return attend(cache, constants.LAYERS - 1, q, k, v)


def test_tokens_taken_back_leave_no_trace():
    n = SINK + 4 * B
    plain, guessed = KVCache(2, n, F32, DEVICE), KVCache(2, n, F32, DEVICE, slack=3)
    for cache in (plain, guessed):
        run(cache, 0, n - 3)
    for seed in range(3):
        run(guessed, 50 + seed, 1)
    guessed.truncate([n - 3, n - 3])
    for seed in (10, 11):
        assert torch.allclose(run(plain, seed, 1), run(guessed, seed, 1), atol=1e-6)


def test_tokens_that_evicted_others_cannot_be_taken_back_without_slack():
    cache = KVCache(1, SINK + 2 * B, F32, DEVICE)
    cache.advance(SINK + 5 * B + 3)
    cache.truncate([SINK + 5 * B + 1])
    with pytest.raises(ValueError, match=r"row 0: a window from token .* slack=4"):
        cache.truncate([SINK + 5 * B - 1])
    with pytest.raises(ValueError, match="cannot be cut"):
        cache.truncate([SINK + 6 * B])
    assert cache.lengths.tolist() == [SINK + 5 * B + 1]


def test_forked_rows_go_on_apart():
    n = SINK + 2 * B
    cache = KVCache(2, n, F32, DEVICE)
    run(cache, 0, n - 1)
    alone = run(cache, 5, 1)
    cache.truncate([n - 1, n - 1])
    cache.fork(torch.tensor([1, 0, 1], device=DEVICE))
    assert cache.lengths.tolist() == [n - 1] * 3
    assert cache.bytes() == KVCache(3, n, F32, DEVICE).bytes()
    q = normal(5, 2, HEADS, 1, DIM)[[1, 0, 1]]
    k, v = (normal(5 + add, 2, KV_HEADS, 1, DIM)[[1, 0, 1]] for add in (1000, 2000))
    k[2] += 1.0
    cache.advance(1)
    out = attend(cache, constants.LAYERS - 1, q, k, v)
    assert torch.allclose(out[:2], alone[[1, 0]], atol=1e-6)
    assert not torch.allclose(out[2], out[0], atol=1e-3)


def test_prefill_on_a_cache_that_grew_reads_what_decode_reads():
    n, layer = SINK + 3 * B, constants.LAYERS - 1
    at_once, singly = KVCache(1, n, F32, DEVICE), KVCache(1, n, F32, DEVICE)
    for cache in (at_once, singly):
        run(cache, 0, n + B + 1)
        cache.grow(3 * n)
        assert cache.layers[layer].held.max() > SINK
    q = normal(1, 1, HEADS, 4, DIM)
    k, v = (normal(add, 1, KV_HEADS, 4, DIM) for add in (2, 3))
    at_once.advance(4)
    whole = attend(at_once, layer, q, k, v)
    for token in range(4):
        singly.advance(1)
        one = slice(token, token + 1)
        step = attend(singly, layer, q[:, :, one], k[:, :, one], v[:, :, one])
        assert torch.allclose(whole[:, :, one], step, atol=1e-5)


def test_padded_rows_are_at_their_own_positions():
    """Prompts padded on either side, then a turn on top, equal to each row alone."""
    n, layer = SINK + 3 * B, constants.LAYERS - 1
    counts, starts, width = (n - 3, B + 1), (0, 7), n
    cache = KVCache(2, n, F32, DEVICE)
    q = normal(1, 2, HEADS, width, DIM)
    k, v = (normal(add, 2, KV_HEADS, width, DIM) for add in (2, 3))
    cache.advance(tokens(*counts), tokens(*starts))
    prompt = attend(cache, layer, q, k, v)
    cache.advance(tokens(5, 3), tokens(0, 2))
    turn = attend(cache, layer, q[:, :, :5], k[:, :, :5], v[:, :, :5])
    assert cache.lengths.tolist() == [n + 2, B + 4]
    for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
        alone, real = KVCache(1, n, F32, DEVICE), slice(start, start + count)
        alone.advance(count)
        one = attend(alone, layer, q[row, None, :, real], k[row, None, :, real], v[row, None, :, real])
        assert torch.allclose(prompt[row, :, real], one[0], atol=1e-5)
        real = slice(2 * row, 5)
        alone.advance(5 - 2 * row)
        one = attend(alone, layer, q[row, None, :, real], k[row, None, :, real], v[row, None, :, real])
        assert torch.allclose(turn[row, :, real], one[0], atol=1e-5)


def test_what_is_no_cache_is_refused():
    with pytest.raises(ValueError, match="not a cache"):
        KVCache(0, 5, F32, DEVICE)
    cache = LayerCache([1, 1], 1, 1, 16, F32, DEVICE)
    new = normal(1, 1, 1, 4, 16)
    with pytest.raises(ValueError, match="the cache must be"):
        cache.append(normal(1, 2, 1, 4, 16), normal(1, 2, 1, 4, 16), tokens(0, 0))
    with pytest.raises(ValueError, match="one dtype"):
        cache.append(new.half(), new.half(), tokens(0))
    with pytest.raises(ValueError, match="1 integers"):
        cache.append(new, new, tokens(0, 0))
    with pytest.raises(ValueError, match="both of starts and counts"):
        cache.append(new, new, tokens(0), starts=tokens(0))


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
def test_steps_in_a_cuda_graph_go_on_from_the_device():
    n, layer = SINK + 4 * B, constants.LAYERS - 1
    plain, captured = KVCache(2, n, F32, DEVICE), KVCache(2, n, F32, DEVICE)
    for cache in (plain, captured):
        run(cache, 0, n - 3)
    q = normal(1, 2, HEADS, 1, DIM)
    k, v = (normal(add, 2, KV_HEADS, 1, DIM) for add in (2, 3))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.advance(1)
        out = attend(captured, layer, q, k, v)
    for _ in range(2 * B):
        plain.advance(1)
        exact = attend(plain, layer, q, k, v)
        graph.replay()
        assert torch.equal(out, exact)
    assert captured.lengths.tolist() == [n - 3 + 2 * B] * 2
