"""Decode from the plan's cache beside torch's dense attention: microseconds per layer, the mean over the plan's layers.

All layers are captured in one CUDA graph, each reading its own part of a pool of keys and values larger than the L2
cache, as in a model. The limit is the time that a copy kernel of the same run needs for the bytes that the plan keeps.
Dense is the faster of cuDNN and flash, with the keys and values of the KV heads. `--sweep` tries other tile shapes and
divisions of the work, and prints the fastest for each shape: what `splits.DIVISIONS` holds. Needs a GPU.
"""

import argparse
import itertools
import platform
import sys
from collections.abc import Callable, Sequence

import torch
import triton
from tessera_kernels import LayerCache, cached_decode, constants, reference, spans
from tessera_kernels.splits import Division, division
from timing import BACKENDS, DEVICE, mean, normal, relative
from torch.nn.attention import sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM = constants.QUERY_HEADS, constants.KV_HEADS, constants.HEAD_DIM
GROUP = HEADS // KV_HEADS
# More than any L2 cache, so that a layer finds nothing of the one that read there before.
LEAST = 1 << 29


def microseconds(calls: Sequence[Callable[[], object]], repetitions: int = 5) -> float:
    """Mean time of the calls, one after the other in one CUDA graph; median of repetitions."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times: list[float] = []
    for _ in range(repetitions + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return 1000 * sorted(times[1:])[repetitions // 2] / len(calls)


def bandwidths() -> tuple[float, float]:
    """Bytes per microsecond of a copy, read and written, and of reading alone."""
    source = torch.ones(1 << 29, dtype=torch.float32, device=DEVICE)
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / microseconds([lambda: torch.neg(source, out=target)])
    return copy, source.nbytes / microseconds([lambda: source.sum()])


class Pool:
    """Keys and values that calls read in turn."""

    def __init__(self, elements: int, dtype: torch.dtype) -> None:
        size = max(elements, LEAST // dtype.itemsize)
        self.keys, self.values = (torch.empty(size, dtype=dtype, device=DEVICE) for _ in range(2))
        for buffer in (self.keys, self.values):
            for part in buffer.split(1 << 28):
                part.normal_()
        self._at = 0

    def take(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        size = torch.Size(shape).numel()
        at = self._at if self._at + size <= self.keys.numel() else 0
        self._at = at + size
        return self.keys[at : at + size].view(shape), self.values[at : at + size].view(shape)


def cached(layer: int, batch: int, length: int, pool: Pool) -> LayerCache:
    cache = LayerCache(spans.layer_windows(layer, length), batch, KV_HEADS, DIM, pool.keys.dtype, "meta")
    cache.keys, cache.values = pool.take(batch, cache.layout.slots, DIM)
    return cache


def kept(cache: LayerCache, length: int) -> int:
    """Tokens that all KV heads read of a row."""
    groups = [cache.windows[at : at + GROUP] for at in range(0, HEADS, GROUP)]
    return sum(end - start for windows in groups for start, end in spans.decode_ranges(windows, length))


def dense(batch: int, length: int, pool: Pool) -> float:
    q = normal(batch, HEADS, 1, DIM, dtype=pool.keys.dtype)
    caches = [pool.take(batch, KV_HEADS, length, DIM) for _ in range(8)]
    forms: list[Callable[[torch.Tensor, torch.Tensor], object]] = [
        lambda k, v: scaled_dot_product_attention(q, k, v, enable_gqa=True),
        lambda k, v: scaled_dot_product_attention(q.view(batch, KV_HEADS, GROUP, DIM), k, v),
    ]
    times: list[float] = []
    for backend, form in itertools.product(BACKENDS, forms):
        try:
            with sdpa_kernel(backend):
                times.append(microseconds([lambda k=k, v=v, form=form: form(k, v) for k, v in caches], 3))  # type: ignore[misc]
        except RuntimeError:
            # The backend does not take this shape or device.
            torch.cuda.synchronize()
    return min(times) if times else float("nan")


def worst_error(caches: list[LayerCache], q: torch.Tensor, length: int) -> float:
    """Of the first and last row of the first and last layer, against attention in float64."""
    batch, worst = q.shape[0], 0.0
    lengths = torch.full((batch,), length, dtype=torch.int32, device=DEVICE)
    for cache in {id(cache): cache for cache in (caches[0], caches[-1])}.values():
        out = cached_decode(q, cache, lengths, out=torch.full_like(q, float("nan")))
        for row in {0, batch - 1}:
            one = LayerCache(cache.windows, 1, KV_HEADS, DIM, q.dtype, "meta")
            one.keys, one.values = cache.keys[row, None], cache.values[row, None]
            k, v = one.dense(length)
            exact = reference.decode(q[row, None], k, v, [length], [cache.windows])
            worst = max(worst, relative(out[row, None], exact))
    return worst


class Shape:
    def __init__(self, batch: int, length: int, layers: list[int], pool: Pool, rate: float) -> None:
        self.batch, self.length = batch, length
        self.q = normal(batch, HEADS, DIM, dtype=pool.keys.dtype)
        self.out = torch.empty_like(self.q)
        self.lengths = torch.full((batch,), length, dtype=torch.int32, device=DEVICE)
        self.caches = [cached(layer, batch, length, pool) for layer in layers]
        size = 2 * DIM * self.q.element_size() * batch
        self.limit = mean([kept(cache, length) * size / rate for cache in self.caches])

    def time(self, how: Division | None = None, every: int = 1, repetitions: int = 5) -> float:
        return microseconds(
            [
                lambda cache=cache: cached_decode(self.q, cache, self.lengths, None, None, self.out, how)  # type: ignore[misc]
                for cache in self.caches[::every]
            ],
            repetitions,
        )


SWEPT = [
    *((keys, warps, stages) for keys in (32, 64, 128) for warps in (4, 8) for stages in (2, 3, 4)),
    (64, 2, 3),
    (32, 2, 4),
]


def sweep(shape: Shape, dtype: torch.dtype) -> None:
    every = max(1, len(shape.caches) // 8)
    found: list[tuple[float, Division]] = []
    shares = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (6, 1))
    for (keys, warps, stages), (programs, stretch) in itertools.product(SWEPT, shares):
        how = Division(keys, warps, stages, programs, stretch)
        try:
            found.append((shape.time(how, every, 2), how))
        except triton.runtime.errors.OutOfResources:
            continue
    found.sort()
    ours = shape.time(None, every, 3)
    used = tuple(division(DIM, dtype, DEVICE))
    print(f"\n{shape.batch} x {shape.length}: {ours:.1f} with {used}; best of {len(found)}:")
    for time, how in found[:6]:
        print(f"  {time:.1f}  {tuple(how)}")
    if torch.cuda.get_device_capability() >= (9, 0):
        how = found[0][1]._replace(dependent=True)
        print(f"  {shape.time(how, every, 3):.1f}  {tuple(how)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 16384, 32768])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"])
    parser.add_argument("--sweep", action="store_true", help="other tile shapes and divisions, per shape")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("a CUDA GPU is needed; without one, run the tests: python -m pytest")
    torch.manual_seed(0)
    dtype: torch.dtype = getattr(torch, options.dtype)
    layers = list(range(constants.LAYERS))
    copied, read = bandwidths()
    torch.cuda.empty_cache()
    print(f"plan {constants.PLAN}, rules per {constants.GROUPING}; {torch.cuda.get_device_name()}, torch")
    print(f"{torch.__version__}, triton {triton.__version__}, Python {platform.python_version()}; {options.dtype},")
    print(
        f"microseconds per layer, mean of {len(layers)}; a copy moves {copied / 1e6:.2f} TB/s, a sum {read / 1e6:.2f}\n"
    )
    if not options.sweep:
        print("| batch x N | dense | ours | dense / ours | limit | limit / ours | splits | error |")
        print("|---|---|---|---|---|---|---|---|")
    for batch, length in itertools.product(options.batches, options.lengths):
        torch.cuda.empty_cache()
        try:
            pool = Pool(batch * KV_HEADS * length * DIM, dtype)
            shape = Shape(batch, length, layers, pool, copied)
            if options.sweep:
                sweep(shape, dtype)
                continue
            ours, error = shape.time(), worst_error(shape.caches, shape.q, length)
            other = dense(batch, length, pool)
        except torch.OutOfMemoryError:
            print(f"| {batch} x {length} | does not fit |", flush=True)
            continue
        print(
            f"| {batch} x {length} | {other:.1f} | {ours:.1f} | {other / ours:.2f} | {shape.limit:.1f} "
            f"| {shape.limit / ours:.2f} | {splits(shape)} | {error:.1e} |",
            flush=True,
        )
        del pool, shape


def splits(shape: Shape) -> str:
    """Programs per row, least and most of a layer."""
    from tessera_kernels.splits import work_tables

    how = division(DIM, shape.q.dtype, DEVICE)
    counts = []
    for cache in shape.caches:
        longest = constants.SINK + max(cache.layout.rings)
        work = work_tables(cache.windows, GROUP, cache.layout, longest, shape.batch, how, None, DEVICE)
        counts.append(work.items.shape[0])
    return f"{min(counts)}-{max(counts)}"


if __name__ == "__main__":
    main()
