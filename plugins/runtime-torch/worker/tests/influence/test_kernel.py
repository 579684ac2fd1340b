"""The kernel and the eager way, against the definition in float64.

On a GPU the kernel runs there, elsewhere in Triton's interpreter.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.inputs import KINDS, Inputs, Kind, inputs
from tessera_worker.influence import eager, launch, reference
from tessera_worker.influence.tiles import Tile, Tiles

# Of numpy, in the interpreter.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Conversion of an array")

DEVICE = "cpu" if launch.INTERPRETED else "cuda"

without_tma = pytest.mark.skipif(
    DEVICE == "cuda" and torch.cuda.get_device_capability() < (9, 0), reason="needs a GPU with TMA"
)

# The interpreter's time goes by tiles.
SMALL = Tile(64, 64, 4, 1)


def wanted(of: Inputs, block: int, absolute: bool) -> torch.Tensor:
    exact = of.double()
    e = reference.entries(exact.q, exact.k, exact.v, exact.d_o, of.scale)
    return reference.sum_blocks(e.abs() if absolute else e, block)


def worst(got: torch.Tensor, want: torch.Tensor) -> float:
    """The largest relative Frobenius error of a query head."""
    return float(((got - want).norm(dim=(1, 2)) / want.norm(dim=(1, 2))).max())


def by_kernel(of: Inputs, block: int, absolute: bool, tile: Tile = SMALL) -> torch.Tensor:
    lse = of.double().lse().float()
    sums = {"scale": of.scale, "block": block, "absolute": absolute, "tiles": Tiles(tile, tile)}
    return launch.block_sums(of.q, of.k, of.v, of.d_o, lse, **sums)


def of_kind(kind: Kind, **changes: Any) -> Inputs:
    shape: dict[str, Any] = {"n": 150, "head_dim": 64, "kv_heads": 1, "group": 1, "dtype": torch.bfloat16}
    return inputs(kind, device=DEVICE, **{**shape, **changes})


def test_a_sink_takes_all_but_a_millionth_of_the_attention() -> None:
    of = of_kind("sink").double()
    a = torch.exp((of.q @ of.k.mT * of.scale)[0, 1:, 0] - of.lse()[0, 1:])
    assert 1e-7 < 1 - float(a.max()) < 2e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_block_sums_equal_float64_in_every_precision(kind: Kind, dtype: torch.dtype) -> None:
    of = of_kind(kind, dtype=dtype)
    for absolute in (True, False):
        assert worst(by_kernel(of, 64, absolute), wanted(of, 64, absolute)) < 1e-5


@pytest.mark.parametrize("head_dim", [64, 96, 128, 256])
@pytest.mark.parametrize("group", [1, 4, 8])
def test_block_sums_equal_float64_for_every_head_dimension_and_group(head_dim: int, group: int) -> None:
    of = of_kind("sink", n=80, head_dim=head_dim, group=group)
    assert worst(by_kernel(of, 32, True), wanted(of, 32, True)) < 1e-5


@pytest.mark.parametrize("tma", [False, pytest.param(True, marks=without_tma)])
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(64, 32), (128, 64)])
def test_tile_shapes_make_no_difference(queries: int, keys: int, tma: bool, overlap: bool) -> None:
    of = of_kind("peaked", n=140, kv_heads=2)
    tile = Tile(queries, keys, 4, 1, tma, overlap)
    assert worst(by_kernel(of, 32, True, tile), wanted(of, 32, True)) < 1e-5


@pytest.mark.parametrize("block", [16, 32, 48, 64, 128, 256])
@pytest.mark.parametrize("n", [1, 64, 130])
def test_any_multiple_of_16_is_a_block(block: int, n: int) -> None:
    of = of_kind("flat", n=n)
    got = by_kernel(of, block, True)
    assert got.shape == (1, -(-n // block), -(-n // block))
    want = wanted(of, block, True)
    assert float((got - want).norm()) <= 1e-5 * float(want.norm())


def test_queries_without_gradient_have_no_influence() -> None:
    of = of_kind("flat", n=150)
    of.d_o[:, :70] = 0
    got = by_kernel(of, 16, True)
    assert float(got[:, :4].abs().max()) == 0
    assert worst(got, wanted(of, 16, True)) < 1e-5


def test_the_first_token_has_no_other_key_to_turn_to() -> None:
    of = of_kind("flat", n=16).double()
    sums = eager.block_sums(of.q, of.k, of.v, of.d_o, of.lse(), scale=of.scale, block=1, absolute=True)
    assert float(sums[0, 0, 0]) == 0
    one = of_kind("flat", n=1)
    assert float(by_kernel(one, 16, True)) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [1, 7, 64, 70])
def test_the_eager_way_takes_any_block(kind: Kind, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = of_kind(kind, n=70, kv_heads=2, group=2, dtype=torch.float32)
    for tile in (1 << 23, 4 * 70 * 20):
        monkeypatch.setattr(eager, "TILE", tile)
        for absolute in (True, False):
            exact = of.double()
            sums = {"scale": of.scale, "block": block, "absolute": absolute}
            got = eager.block_sums(exact.q, exact.k, exact.v, exact.d_o, exact.lse(), **sums)
            assert worst(got, wanted(of, block, absolute)) < 1e-9
            got = eager.block_sums(of.q, of.k, of.v, of.d_o, exact.lse().float(), **sums)
            assert worst(got, wanted(of, block, absolute)) < 1e-5
