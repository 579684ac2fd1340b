"""What the tests of the kernels share. Errors are relative norms: ||ours - exact|| / ||exact||."""

import random

import torch
from tessera_kernels import constants

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
# Triton's interpreter truncates to bfloat16 instead of rounding to nearest.
BOUNDS = {torch.float32: 2e-6, torch.float16: 8e-4, torch.bfloat16: 3e-3 if CUDA else 6e-3}
DTYPES = list(BOUNDS)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype).to(DEVICE)


def error(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())


def poisoned(q: torch.Tensor) -> torch.Tensor:
    return torch.full_like(q, float("nan"))


def random_windows(rng: random.Random, heads: int, length: int) -> list[int]:
    most = -(-length // constants.BLOCK)
    return [rng.randint(1, most + 1) for _ in range(heads)]
