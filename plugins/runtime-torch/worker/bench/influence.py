"""What influence costs and how exact it is, on a CUDA GPU: `python bench/influence.py`, about six minutes on an H100.

Sections: accuracy, kernel, model, official; and tune (tile shapes), only when asked for. Figures also go to a JSON file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

sys.path[:0] = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parent)]

import official
from inputs import KINDS, Inputs, inputs
from model import BACKENDS, forward_backward, item, llama_8b

from tessera_worker.errors import WorkerError
from tessera_worker.influence import dense, eager, launch
from tessera_worker.influence.profile import profile
from tessera_worker.influence.tiles import Tile, Tiles, tiles_for

Row = dict[str, Any]
GIB = 1 << 30
K = 1024


def _clean() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def seconds(run: Callable[[], object], repeats: int, warm: bool = True) -> float:
    """Median wall time of synchronised runs."""
    if warm:
        run()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measured(run: Callable[[], object], repeats: int) -> tuple[float | None, float | None]:
    """Seconds and peak GiB, or None twice where memory runs out."""
    _clean()
    try:
        time = seconds(run, repeats)
    except (torch.OutOfMemoryError, WorkerError) as error:
        if isinstance(error, WorkerError) and error.reason != "OutOfMemory":
            raise
        return None, None
    return time, torch.cuda.max_memory_allocated() / GIB


def accuracy(options: argparse.Namespace) -> Iterator[Row]:
    """Relative Frobenius error of block sums against float64, the worst of the query heads."""
    n = 1000
    for dtype, head_dim, group in product((torch.bfloat16, torch.float16), (64, 96, 128, 256), (1, 4, 8)):
        row: Row = {"dtype": str(dtype)[6:], "head dim": head_dim, "group": group, "N": n}
        for kind in KINDS:
            of = inputs(kind, n=n, head_dim=head_dim, kv_heads=2, group=group, dtype=dtype, device="cuda")
            exact = of.double()
            reference = exact.lse()
            q, k = of.q[None], of.k[None]
            way = dense.best(of.q.device, dtype, q.shape[1], k.shape[1], head_dim)
            lse = dense.log_sum_exp(dense.attend(way, q, k, of.v[None], of.scale))
            for absolute in (True, False):
                kinds = {"scale": of.scale, "block": 64, "absolute": absolute}
                want = eager.block_sums(exact.q, exact.k, exact.v, exact.d_o, reference, **kinds)
                got = launch.block_sums(of.q, of.k, of.v, of.d_o, lse, **kinds)
                error = ((got - want).norm(dim=(1, 2)) / want.norm(dim=(1, 2))).max().item()
                row[f"{kind} {'abs' if absolute else 'signed'}"] = error
        row["attention"] = way.name
        row["within 1e-5"] = max(value for value in row.values() if isinstance(value, float)) <= 1e-5
        yield row


def _layer(n: int, head_dim: int = 128) -> tuple[Inputs, torch.Tensor]:
    of = inputs("flat", n=n, head_dim=head_dim, kv_heads=8, group=4, dtype=torch.bfloat16, device="cuda")
    way = dense.best(of.q.device, of.q.dtype, 32, 8, head_dim)
    return of, dense.log_sum_exp(dense.attend(way, of.q[None], of.k[None], of.v[None], of.scale))


def _kernel_ms(of: Inputs, lse: torch.Tensor, tiles: Tiles | None = None, absolute: bool = True) -> float:
    def run() -> None:
        launch.block_sums(
            of.q, of.k, of.v, of.d_o, lse, scale=of.scale, block=64, absolute=absolute, tiles=tiles
        )

    return 1e3 * seconds(run, 9 if of.q.shape[1] <= 8 * K else 4)


def kernel_alone(options: argparse.Namespace) -> Iterator[Row]:
    """One layer of Llama-3-8B: 32 query heads, 8 KV heads of 128, bf16, blocks of 64; four products counted, causal."""
    for n in options.sizes:
        of, lse = _layer(n)
        q, k, v, d_o = (x[None] for x in (of.q, of.k, of.v, of.d_o))
        way = dense.best(of.q.device, of.q.dtype, 32, 8, 128)
        kept = dense.attend(way, q, k, v, of.scale)
        row: Row = {"N": n}
        for absolute in (True, False):
            ms = _kernel_ms(of, lse, absolute=absolute)
            row[f"{'abs' if absolute else 'signed'} ms"] = ms
            row[f"{'abs' if absolute else 'signed'} TFLOP/s"] = 4 * 128 * n * n * 32 / ms / 1e9
        row[f"{way.name} forward ms"] = 1e3 * seconds(lambda: dense.attend(way, q, k, v, of.scale), 5)
        row[f"{way.name} backward ms"] = 1e3 * seconds(
            lambda: dense.differentiate(way, d_o, q, k, v, kept, of.scale), 5
        )
        yield row


def tune(options: argparse.Namespace) -> Iterator[Row]:
    """Tile shapes of one pass while the other keeps its own: milliseconds of both together, at 8k."""
    of, lse = _layer(8 * K, options.head_dim)
    base = tiles_for(torch.cuda.get_device_capability(), 2, max(64, options.head_dim))
    shapes = [(128, 64, 8, 2), (128, 64, 8, 3), (128, 128, 8, 2), (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 8, 3), (128, 32, 4, 3), (64, 32, 4, 3), (64, 128, 4, 2), (128, 64, 4, 2), (192, 64, 12, 2)]  # fmt: skip
    for queries, keys, warps, stages in shapes:
        for tma, overlap in ((False, False), (True, False), (True, True)):
            if queries % keys or queries & (queries - 1):
                continue
            tile = Tile(queries, keys, warps, stages, tma, overlap)
            row: Row = {
                "tile": f"{queries}x{keys}",
                "warps": warps,
                "stages": stages,
                "TMA": tma,
                "overlap": overlap,
            }
            for name, tiles in (
                ("statistics", Tiles(tile, base.sums)),
                ("sums", Tiles(base.statistics, tile)),
            ):
                try:
                    row[f"{name} ms"] = _kernel_ms(of, lse, tiles)
                except Exception as error:
                    row[f"{name} ms"] = type(error).__name__
            yield row


def model(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds an item of Llama-3-8B's shape, beside its forward and backward pass with frozen weights."""
    llama = llama_8b()
    for n in options.sizes:
        tokens, mask = item(llama, n)
        checkpointing, repeats = n > 8 * K, 5 if n <= 8 * K else 2 if n <= 16 * K else 1

        def influence(n: int = n, checkpointing: bool = checkpointing) -> None:
            for _ in profile(
                llama, [(tokens, mask)], objective="cross-entropy", block=64, sum="abs", keep=options.keep,
                sink=64, checkpointing=checkpointing,
            ):  # fmt: skip
                pass

        row: Row = {"N": n, "checkpointed": checkpointing}
        row["influence s"], row["peak GiB"] = measured(influence, repeats)
        for all_logits in (False, True):
            if all_logits and n > 32 * K:
                continue
            best: tuple[float, float | None, str] | None = None
            for backend in BACKENDS if n <= 8 * K else ["cuDNN"]:
                took, peak = measured(
                    lambda backend=backend, all_logits=all_logits: forward_backward(
                        llama,
                        tokens,
                        mask,
                        backend=backend,
                        all_logits=all_logits,
                        checkpointing=checkpointing,
                    ),
                    repeats,
                )
                if took is not None and (best is None or took < best[0]):
                    best = (took, peak, backend)
            name = "all logits" if all_logits else "counted logits"
            row[f"{name}: fwd+bwd s"], row[f"{name}: GiB"], way = best or (None, None, None)
            if best is not None and row["influence s"] is not None:
                row[f"{name}: ratio"] = row["influence s"] / best[0]
                row["attention"] = way
        yield row


def official_way(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds an item of the official arithmetic, weight gradients on, nothing checkpointed."""
    llama = llama_8b(attn_implementation="official_moa")
    llama.requires_grad_(True)
    for n in [n for n in options.sizes if n <= 8 * K] + [12 * K]:
        tokens, mask = item(llama, n)

        def run(tokens: list[int] = tokens, mask: list[bool] = mask) -> None:
            official.profile(llama, tokens, mask)

        took, peak = measured(run, 2 if n <= 4 * K else 1)
        official.forget()
        llama.zero_grad()
        yield {"N": n, "official s": took, "peak GiB": peak}
        if took is None:
            return


SECTIONS = {
    "accuracy": accuracy,
    "kernel": kernel_alone,
    "model": model,
    "official": official_way,
    "tune": tune,
}


def shown(value: object) -> str:
    if value is None:
        return "out of memory"
    if isinstance(value, float):
        return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.4g}"
    return str(value)


def table(rows: Iterable[Row]) -> list[Row]:
    """Prints rows as they come, in markdown."""
    done: list[Row] = []
    for row in rows:
        if not done:
            print("| " + " | ".join(row) + " |\n|" + " --- |" * len(row))
        print(
            "| "
            + " | ".join(shown(row[key]) if key in row else "" for key in (done[0] if done else row))
            + " |",
            flush=True,
        )
        done.append(row)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=["accuracy", "kernel", "model", "official"]
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[n * K for n in (2, 4, 8, 16, 32, 64)])
    parser.add_argument("--quick", action="store_true", help="up to 8k only")
    parser.add_argument("--keep", choices=["blocks", "windows"], default="blocks")
    parser.add_argument("--head-dim", type=int, default=128, help="of `tune`")
    parser.add_argument("--json", type=Path, help="default: influence.json in the folder $OUT, if set")
    options = parser.parse_args()
    if options.quick:
        options.sizes = [n for n in options.sizes if n <= 8 * K]
    out = options.json or (Path(os.environ["OUT"]) / "influence.json" if "OUT" in os.environ else None)
    device = torch.cuda.get_device_properties(0)
    print(
        f"{device.name}, torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )
    failed = False
    results: dict[str, Any] = {"device": device.name, "torch": torch.__version__}
    for name in options.only:
        start = time.perf_counter()
        print(f"\n## {name}\n\n{SECTIONS[name].__doc__}\n")
        try:
            results[name] = table(SECTIONS[name](options))
        except Exception:
            # The other sections' figures are worth having all the same.
            traceback.print_exc()
            failed = True
        _clean()
        print(f"\n({time.perf_counter() - start:.0f} s)")
        if out is not None:
            out.write_text(json.dumps(results, indent=1))
    sys.exit(failed)


if __name__ == "__main__":
    main()
