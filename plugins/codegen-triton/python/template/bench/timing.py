"""How the benches time: medians of CUDA events, calls replayed from a CUDA graph, L2 flushed before each repetition.

Dense is the faster of torch's backends cuDNN and flash, with the K and V of the KV heads.
"""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE = torch.device("cuda")
BACKENDS = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION)


def normal(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE, dtype=torch.float32).to(dtype)


def milliseconds(call: Callable[[], object], repetitions: int = 7) -> float:
    """Median time of a call after two to warm up."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    flush = torch.empty(256 << 20, dtype=torch.int8, device=DEVICE)
    times: list[float] = []
    for _ in range(repetitions):
        flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[repetitions // 2]


def best_dense(calls: list[Callable[[], object]]) -> float:
    times: list[float] = []
    for backend in BACKENDS:
        for call in calls:
            try:
                with sdpa_kernel(backend):
                    times.append(milliseconds(call))
            except RuntimeError:
                # The backend does not take this shape, type or device.
                torch.cuda.synchronize()
    if not times:
        raise SystemExit("torch has no fused dense attention for this shape to compare with")
    return min(times)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def relative(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())
