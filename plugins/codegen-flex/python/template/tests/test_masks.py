"""Masks against their definition, block masks against the scan of all pairs and against the emitter's own rows."""

import json
from pathlib import Path

import pytest
import torch
from tessera_masks import attention, block_mask, constants, layer_windows, length_class, mask_mod
from tessera_masks.masks import kept_tiles
from torch.nn.attention.flex_attention import create_block_mask

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHORTEST = min(constants.WINDOWS)
LAYERS = sorted({0, constants.LAYERS - 1})


def reference_mask(windows: tuple[int, ...], q_len: int, kv_len: int) -> torch.Tensor:
    """Kept pairs, bool [query heads, q_len, kv_len]."""
    q = torch.arange(kv_len - q_len, kv_len)[None, :, None]
    k = torch.arange(kv_len)[None, None, :]
    near = k // constants.BLOCK > q // constants.BLOCK - torch.tensor(windows)[:, None, None]
    return (k <= q) & ((k < constants.SINK) | near)


def some_and_whole(kept: torch.Tensor, tile: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """By tiles: whether one pair is kept, and whether all are; pairs beyond the last key are not."""
    heads, q_len, kv_len = kept.shape
    padded = torch.zeros(heads, -(-q_len // tile) * tile, -(-kv_len // tile) * tile, dtype=torch.bool)
    padded[:, :q_len, :kv_len] = kept
    # A query tile that is not full is whole where its own rows are.
    padded[:, q_len:] = padded[:, q_len - 1 : q_len]
    tiles = padded.unflatten(2, (-1, tile)).unflatten(1, (-1, tile))
    return tiles.any(4).any(2), tiles.all(4).all(2)


def listed(counts: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """The tiles that a block mask lists, bool [query heads, query tiles, key tiles]."""
    tiles = torch.zeros(order.shape[1:], dtype=torch.bool)
    for head, row in torch.cartesian_prod(torch.arange(order.shape[1]), torch.arange(order.shape[2])).tolist():
        chosen = order[0, head, row, : counts[0, head, row]].long().cpu()
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        tiles[head, row, chosen] = True
    return tiles


SHAPES = [(1, 1), (130, 130), (300, 300), (384, 384), (70, 260), (1, 385)]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("q_len", "kv_len"), SHAPES)
def test_a_block_mask_lists_each_kept_tile_once_and_the_whole_ones_apart(layer, q_len, kv_len):
    mask = block_mask(layer, SHORTEST, q_len, kv_len, DEVICE)
    kept = reference_mask(layer_windows(layer, SHORTEST), q_len, kv_len)
    some, whole = some_and_whole(kept)
    full = listed(mask.full_kv_num_blocks, mask.full_kv_indices)
    partial = listed(mask.kv_num_blocks, mask.kv_indices)
    assert torch.equal(partial | full, some)
    assert not (partial & full).any()
    assert torch.equal(full, whole)


@pytest.mark.parametrize(("q_len", "kv_len"), SHAPES)
def test_the_mask_of_pairs_is_the_definition(q_len, kv_len):
    keeps = mask_mod(LAYERS[-1], SHORTEST, DEVICE, offset=kv_len - q_len)
    scanned = create_block_mask(keeps, None, constants.QUERY_HEADS, q_len, kv_len, device=str(DEVICE))
    kept = reference_mask(layer_windows(LAYERS[-1], SHORTEST), q_len, kv_len)
    heads, rows, columns = (torch.arange(n, device=DEVICE) for n in kept.shape)
    pairs = keeps(torch.zeros(()), heads[:, None, None], rows[None, :, None], columns[None, None, :])
    assert torch.equal(pairs.cpu(), kept)
    own = block_mask(LAYERS[-1], SHORTEST, q_len, kv_len, DEVICE)
    assert torch.equal(own.to_dense(), scanned.to_dense())


def test_rows_of_block_masks_are_the_emitters():
    for case in GOLDEN:
        windows = torch.tensor(layer_windows(case["layer"], case["length"])[case["head"]])[None]
        length = -(-case["length"] // 128) * 128
        partial, whole = kept_tiles(windows, length, length)
        for row in case["rows"]:
            assert partial[0, row["row"]].nonzero().flatten().tolist() == row["partial"], case
            assert whole[0, row["row"]].nonzero().flatten().tolist() == row["full"], case


@pytest.mark.parametrize(("q_len", "kv_len"), [(200, 200), (33, 161)])
def test_attention_equals_masked_attention(q_len, kv_len):
    torch.manual_seed(0)
    heads, kv_heads, dim = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
    q = torch.randn(2, heads, q_len, dim)
    k, v = torch.randn(2, kv_heads, kv_len, dim), torch.randn(2, kv_heads, kv_len, dim)
    out = attention(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), LAYERS[-1], length=SHORTEST).cpu()
    keys, values = (t.double().repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    kept = reference_mask(layer_windows(LAYERS[-1], SHORTEST), q_len, kv_len)
    scores = (q.double() @ keys.transpose(-1, -2)) * dim**-0.5
    exact = torch.softmax(scores.masked_fill(~kept, float("-inf")), dim=-1) @ values
    assert float((out.double() - exact).norm() / exact.norm()) < (2e-3 if DEVICE.type == "cuda" else 2e-6)


def test_a_length_takes_the_next_larger_class():
    for known in constants.WINDOWS:
        assert length_class(known) == known
    assert length_class(1) == SHORTEST
    assert layer_windows(0, SHORTEST - 1) == constants.WINDOWS[SHORTEST][0]


def test_what_the_plan_does_not_hold_is_refused():
    longest = max(constants.WINDOWS)
    with pytest.raises(ValueError, match="emit it for more"):
        length_class(longest + 1)
    with pytest.raises(ValueError, match="length 0"):
        length_class(0)
    with pytest.raises(ValueError, match="layers 0 to"):
        layer_windows(constants.LAYERS, 1)
    with pytest.raises(ValueError, match="need as many keys"):
        block_mask(0, 1, 3, 2, DEVICE)
    with pytest.raises(ValueError, match="the plan is for"):
        attention(*(torch.zeros(1, constants.QUERY_HEADS + 1, 4, 8, device=DEVICE) for _ in range(3)), layer=0)
