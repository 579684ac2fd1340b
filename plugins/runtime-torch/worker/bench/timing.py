"""Time and memory of runs on the GPU."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import torch

from tessera_worker.errors import WorkerError

GIB = 1 << 30
K = 1024


def clean() -> None:
    """Frees what nobody holds, and forgets the peak."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of synchronised runs after a first one."""
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
    clean()
    try:
        took = seconds(run, repeats)
    except (torch.OutOfMemoryError, WorkerError) as error:
        if isinstance(error, WorkerError) and error.reason != "OutOfMemory":
            raise
        return None, None
    return took, torch.cuda.max_memory_allocated() / GIB
