"""Prefill at batch 1 beside dense and FlexAttention, for the plan's own layers. Needs a GPU.

Milliseconds per layer, mean over the layers; TFLOP/s of the kept pairs of query and key; the share of theory, which is
kept blocks / causal blocks x the best dense time of the same run.

    python bench/prefill.py            what the package uses on this GPU
    python bench/prefill.py --sweep    every tile shape that makes sense, to choose the constants of tiles.py
"""

import argparse
import platform
import time
from collections.abc import Callable, Sequence

import torch
import triton
from flex_peer import Flex
from tessera_kernels import constants, reference, spans, windowed_prefill
from tessera_kernels.tiles import PrefillTiles, prefill_tiles
from timing import DEVICE, best_dense, mean, milliseconds, normal, relative
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM, BLOCK, SINK = (
    constants.QUERY_HEADS,
    constants.KV_HEADS,
    constants.HEAD_DIM,
    constants.BLOCK,
    constants.SINK,
)
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Attention = Callable[[Tensors, Sequence[int], torch.Tensor | None], torch.Tensor]


def tile_shapes(bulk: bool) -> list[PrefillTiles]:
    """What the sweep tries: those that spill or do not fit are left out; ``bulk``: the GPU has a bulk copy engine."""
    shapes = [
        PrefillTiles(64, 64, 4, 2),
        PrefillTiles(64, 64, 4, 3),
        PrefillTiles(128, 64, 8, 2),
        PrefillTiles(64, 32, 4, 3),
        PrefillTiles(128, 32, 8, 3),
    ]
    if bulk:
        shapes += [
            PrefillTiles(64, 64, 4, 2, bulk=True),
            PrefillTiles(64, 64, 4, 2, bulk=True, groupwise=False),
            PrefillTiles(64, 64, 4, 3, bulk=True),
            PrefillTiles(128, 64, 8, 2, bulk=True),
            PrefillTiles(128, 64, 8, 3, bulk=True),
            PrefillTiles(128, 128, 8, 2, bulk=True),
            PrefillTiles(128, 128, 8, 3, bulk=True),
            PrefillTiles(64, 32, 4, 3, bulk=True),
            PrefillTiles(64, 128, 4, 2, bulk=True),
        ]
    return shapes


def describe(tiles: PrefillTiles) -> str:
    return (
        f"{tiles.rows} x {tiles.keys}, {tiles.warps} warps, {tiles.stages} stages"
        + (", bulk" if tiles.bulk else "")
        + ("" if tiles.groupwise else ", tile by tile")
    )


def kept_pairs(windows: Sequence[int], length: int) -> int:
    """Pairs of query and key that a layer keeps, over its query heads."""
    q = torch.arange(length, dtype=torch.int64)
    total = 0
    for window in windows:
        start = (q // BLOCK - window + 1).clamp(min=0) * BLOCK
        total += int((q + 1 - torch.where(start > SINK, start - SINK, 0)).sum())
    return total


def kept_share(windows: Sequence[int], length: int) -> float:
    """Kept blocks over causal blocks, mean over the query heads."""
    row = torch.arange(spans.blocks(length), dtype=torch.int64)
    sink = SINK // BLOCK
    kept = 0
    for window in windows:
        first = (row - window + 1).clamp(min=0)
        kept += int((row + 1 - torch.where(first > sink, first - sink, 0)).sum())
    return kept / (len(windows) * int((row + 1).sum()))


def inputs(length: int, dtype: torch.dtype) -> Tensors:
    q = normal(1, HEADS, length, DIM, dtype=dtype)
    return q, normal(1, KV_HEADS, length, DIM, dtype=dtype), normal(1, KV_HEADS, length, DIM, dtype=dtype)


def ours(tiles: PrefillTiles | None = None) -> Attention:
    return lambda qkv, windows, out: windowed_prefill(*qkv, windows, out=out, tiles=tiles)


def hoppers(sweep: bool) -> list[tuple[str, Attention]]:
    """The kernel for Hopper, which is imported only here: it needs Triton's Gluon."""
    from tessera_kernels.prefill_hopper import HopperTiles, hopper_prefill

    def attention(tiles: HopperTiles) -> Attention:
        def attend(qkv, windows, out):
            out = torch.empty_like(qkv[0]) if out is None else out
            return hopper_prefill(*qkv, tuple(windows), DIM**-0.5, out, tiles)

        return attend

    shapes = [HopperTiles()]
    if sweep:
        shapes += [HopperTiles(turns=False), HopperTiles(64, 4), HopperTiles(64, 4, False)]
    return [(f"Hopper, 128 x {t.keys}, {t.stages} stages{', turns' if t.turns else ''}", attention(t)) for t in shapes]


def error(attend: Attention, layers: Sequence[int], length: int, dtype: torch.dtype) -> float:
    """Worst relative error of the layers against float64."""
    worst = 0.0
    for layer in layers:
        qkv, windows = inputs(length, dtype), spans.layer_windows(layer, length)
        out = attend(qkv, windows, torch.full_like(qkv[0], float("nan")))
        worst = max(worst, relative(out, reference.attention(*qkv, windows)))
    return worst


class Length:
    """One N: its inputs, the plan's windows, and the dense time that theory goes by."""

    def __init__(self, length: int, layers: Sequence[int], dtype: torch.dtype, repetitions: int):
        self.length, self.repetitions = length, repetitions
        self.qkv = q, k, v = inputs(length, dtype)
        self.out = torch.empty_like(q)
        self.windows = [spans.layer_windows(layer, length) for layer in layers]
        self.pairs = mean([kept_pairs(windows, length) for windows in self.windows])
        self.share = mean([kept_share(windows, length) for windows in self.windows])
        self.dense = best_dense([lambda: scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)])

    def cell(self, ms: float) -> str:
        return f"{ms:.3f} / {4 * DIM * self.pairs / ms / 1e9:.0f} / {self.share * self.dense / ms:.2f}"

    def dense_cell(self, backend: SDPBackend) -> str:
        q, k, v = self.qkv
        with sdpa_kernel(backend):
            ms = milliseconds(lambda: scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
        return f"{ms:.3f} / {2 * DIM * HEADS * self.length * (self.length + 1) / ms / 1e9:.0f}"

    def of(self, attend: Attention) -> str:
        times = [
            milliseconds(lambda windows=windows: attend(self.qkv, windows, self.out), self.repetitions)
            for windows in self.windows
        ]
        return self.cell(mean(times))

    def flex(self, bulk: bool) -> str:
        peer = Flex(HEADS, self.length, bulk)
        return self.cell(
            mean([milliseconds(peer.call(*self.qkv, windows), self.repetitions) for windows in self.windows])
        )


def attempt(cell: Callable[[], str]) -> str:
    """A cell, or why there is none: what one shape cannot do must not end the run."""
    try:
        return cell()
    except Exception as problem:
        torch.cuda.synchronize()
        return type(problem).__name__ + ": " + " ".join(str(problem).split())[:60].replace("|", "/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 16384, 32768])
    parser.add_argument("--layers", type=int, default=constants.LAYERS, help="how many layers, spread evenly")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--sweep", action="store_true", help="every tile shape")
    parser.add_argument("--no-flex", action="store_true", help="leave FlexAttention out")
    parser.add_argument("--seconds", type=float, default=180, help="start no further row after this many")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("a CUDA GPU is needed; without one, run the tests: python -m pytest")
    began = time.monotonic()
    torch.manual_seed(0)
    dtype: torch.dtype = getattr(torch, options.dtype)
    count = min(options.layers, constants.LAYERS)
    layers = sorted({round(i * (constants.LAYERS - 1) / max(count - 1, 1)) for i in range(count)})
    print(
        f"plan {constants.PLAN}, {len(layers)} of {constants.LAYERS} layers; {torch.cuda.get_device_name()}, ", end=""
    )
    print(f"torch {torch.__version__}, triton {triton.__version__}, Python {platform.python_version()}\n")

    lengths = [Length(length, layers, dtype, options.repetitions) for length in options.lengths]
    print(f"Prefill, batch 1, {options.dtype}: ms per layer / TFLOP/s of kept pairs / share of theory\n")
    print("| method | " + " | ".join(f"N = {n.length}" for n in lengths) + " | error, N = 1,040 |")
    print("|---|" + "---|" * (len(lengths) + 1))
    print("| kept blocks of causal | " + " | ".join(f"{n.share:.3f}" for n in lengths) + " | |")
    for name, backend in (("cuDNN", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        cells = [attempt(lambda n=n, backend=backend: n.dense_cell(backend)) for n in lengths]
        print(f"| dense, {name} | " + " | ".join(cells) + " | |", flush=True)
    late: list[str] = []

    def row(name: str, cell: Callable[[Length], str], attend: Attention) -> None:
        if time.monotonic() - began > options.seconds:
            late.append(name)
            return
        cells = [attempt(lambda n=n: cell(n)) for n in lengths]
        # A partial tile, and a multiple of 16 like the other lengths: no compilation of its own.
        cells.append(attempt(lambda: f"{error(attend, layers[:1], 1040, dtype):.1e}"))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

    def time_ours(name: str, attend: Attention) -> None:
        row(name, lambda n: n.of(attend), attend)

    tiles = prefill_tiles(DIM, dtype, DEVICE)
    time_ours(f"Triton, {describe(tiles)}", ours(tiles))
    for name, attend in hoppers(options.sweep) if torch.cuda.get_device_capability() == (9, 0) else ():
        time_ours(name, attend)
    for bulk in () if options.no_flex else (False, True):
        row("FlexAttention" + (", USE_TMA" if bulk else ""), lambda n, bulk=bulk: n.flex(bulk), flex(bulk))
    for tiles in tile_shapes(torch.cuda.get_device_capability() >= (9, 0)) if options.sweep else ():
        time_ours(describe(tiles), ours(tiles))
    if late:
        print(f"\nNot run after {options.seconds:.0f} s: {'; '.join(late)}")
    print(f"\nWorst error of {len(layers)} layers at N = 2,048: {error(ours(), layers, 2048, dtype):.1e}; ", end="")
    print(f"the whole took {time.monotonic() - began:.0f} s")


def flex(bulk: bool) -> Attention:
    return lambda qkv, windows, out: Flex(HEADS, qkv[0].shape[2], bulk).call(*qkv, windows)()


if __name__ == "__main__":
    main()
