"""Errors against float64 and times of decode beside torch's dense attention, for the plan's own layers. Needs a GPU."""

import argparse
import platform
from collections.abc import Iterator

import torch
import triton
from tessera_kernels import constants, reference, spans, windowed_decode, windowed_prefill
from timing import DEVICE, best_dense, mean, milliseconds, normal, relative
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
GROUP = HEADS // KV_HEADS


def errors(layers: list[int], length: int) -> Iterator[str]:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        worst_prefill = worst_decode = worst_dense = 0.0
        for layer in layers:
            q = normal(1, HEADS, length, DIM, dtype=dtype)
            k, v = normal(1, KV_HEADS, length, DIM, dtype=dtype), normal(1, KV_HEADS, length, DIM, dtype=dtype)
            windows = spans.layer_windows(layer, length)
            exact = reference.attention(q, k, v, windows)
            out = windowed_prefill(q, k, v, windows, out=torch.full_like(q, float("nan")))
            worst_prefill = max(worst_prefill, relative(out, exact))
            lengths = torch.tensor([length], device=DEVICE)
            step = windowed_decode(q[:, :, -1], k, v, lengths, windows)
            worst_decode = max(worst_decode, relative(step, exact[:, :, -1]))
            dense = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            exact = reference.attention(q, k, v, [spans.blocks(length)] * HEADS)
            worst_dense = max(worst_dense, relative(dense, exact))
        yield f"| {str(dtype)[6:]} | {worst_prefill:.1e} | {worst_decode:.1e} | {worst_dense:.1e} |"


def bandwidth() -> float:
    """Bytes per millisecond, read and written, of a large copy by a kernel."""
    source = torch.zeros(1 << 29, dtype=torch.float32, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(lambda: torch.neg(source, out=target))


def decode_row(layers: list[int], batch: int, length: int, dtype: torch.dtype, rate: float) -> str:
    q = normal(batch, HEADS, DIM, dtype=dtype)
    k, v = (torch.empty(batch, KV_HEADS, length, DIM, device=DEVICE, dtype=dtype).normal_() for _ in range(2))
    lengths = torch.full((batch,), length, dtype=torch.int32, device=DEVICE)
    out = torch.empty_like(q)
    single, folded = q[:, :, None], q.view(batch, KV_HEADS, GROUP, DIM)
    dense = best_dense(
        [
            lambda: scaled_dot_product_attention(single, k, v, enable_gqa=True),
            lambda: scaled_dot_product_attention(folded, k, v),
        ],
    )
    times, limits = [], []
    for layer in layers:
        windows = spans.layer_windows(layer, length)
        times.append(milliseconds(lambda windows=windows: windowed_decode(q, k, v, lengths, windows, out=out)))
        kept = sum(
            end - start
            for head in range(0, HEADS, GROUP)
            for start, end in spans.decode_ranges(windows[head : head + GROUP], length)
        )
        limits.append(kept * 2 * DIM * q.element_size() * batch / rate)
    ours, limit = mean(times), mean(limits)
    return (
        f"| {batch} x {length} | {1000 * dense:.1f} | {1000 * ours:.1f} | {dense / ours:.2f} "
        f"| {1000 * limit:.1f} | {limit / ours:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 16384, 32768])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--layers", type=int, default=8, help="how many layers, spread evenly")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("a CUDA GPU is needed; without one, run the tests: python -m pytest")
    torch.manual_seed(0)
    dtype: torch.dtype = getattr(torch, options.dtype)
    count = min(options.layers, constants.LAYERS)
    layers = sorted({round(i * (constants.LAYERS - 1) / max(count - 1, 1)) for i in range(count)})
    print(f"plan {constants.PLAN}, layers {layers}; {torch.cuda.get_device_name()}, torch {torch.__version__}, ")
    print(f"triton {triton.__version__}, Python {platform.python_version()}\n")
    print("Worst relative error against float64 at N = 1,000 and 2,048 (dense: torch, its default backend)\n")
    print("| dtype | prefill | decode | dense |\n|---|---|---|---|")
    for length in (1000, 2048):
        for row in errors(layers, length):
            print(row, flush=True)
    rate = bandwidth()
    print(f"\nDecode, {options.dtype}, microseconds per layer; limit = kept bytes at {rate / 1e9:.2f} TB/s of a copy\n")
    print("| batch x N | dense | ours | dense / ours | limit | limit / ours |\n|---|---|---|---|---|---|")
    for batch in options.batches:
        for length in options.lengths:
            torch.cuda.empty_cache()
            print(decode_row(layers, batch, length, dtype, rate), flush=True)


if __name__ == "__main__":
    main()
