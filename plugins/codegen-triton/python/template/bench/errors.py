"""Errors of prefill, and of decode from the plan's cache, against float64 and beside torch's dense attention.

Needs a GPU.
"""

import argparse
import platform
from collections.abc import Iterator

import torch
import triton
from tessera_kernels import LayerCache, cached_decode, constants, reference, spans, windowed_prefill
from timing import DEVICE, normal, relative
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM


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
            cache = LayerCache(windows, 1, KV_HEADS, DIM, dtype, DEVICE)
            lengths = torch.tensor([length], device=DEVICE)
            cache.append(k, v, lengths - length)
            step = cached_decode(q[:, :, -1], cache, lengths)
            worst_decode = max(worst_decode, relative(step, exact[:, :, -1]))
            dense = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            exact = reference.attention(q, k, v, [spans.blocks(length)] * HEADS)
            worst_dense = max(worst_dense, relative(dense, exact))
        yield f"| {length} | {str(dtype)[6:]} | {worst_prefill:.1e} | {worst_decode:.1e} | {worst_dense:.1e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 2048])
    parser.add_argument("--layers", type=int, default=8, help="how many layers, spread evenly")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("a CUDA GPU is needed; without one, run the tests: python -m pytest")
    torch.manual_seed(0)
    count = min(options.layers, constants.LAYERS)
    layers = sorted({round(i * (constants.LAYERS - 1) / max(count - 1, 1)) for i in range(count)})
    print(f"plan {constants.PLAN}, layers {layers}; {torch.cuda.get_device_name()}, torch {torch.__version__}, ")
    print(f"triton {triton.__version__}, Python {platform.python_version()}\n")
    print("Worst relative error against float64 (dense: torch, its default backend)\n")
    print("| N | dtype | prefill | decode | dense |\n|---|---|---|---|---|")
    for length in options.lengths:
        for row in errors(layers, length):
            print(row, flush=True)


if __name__ == "__main__":
    main()
