"""The kernel for Hopper: its walk on any machine, its results where such a GPU is there."""

import random
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from helpers import BOUNDS, CUDA, error, normal, poisoned, random_windows
from tessera_kernels import hopper_walk, reference, spans
from tessera_kernels.constants import BLOCK, SINK
from tessera_kernels.prefill_hopper import HopperTiles, fits_hopper, hopper_prefill, item_table

HOPPER = CUDA and torch.cuda.get_device_capability() == (9, 0)


def on_integers(function, programs=0):
    """A function of the kernel's scalars, to be called with integers."""
    plain = types.SimpleNamespace(
        maximum=max,
        minimum=min,
        where=lambda condition, yes, no: yes if condition else no,
        cdiv=lambda a, b: -(-a // b),
        num_programs=lambda axis: programs,
    )
    return types.FunctionType(function.fn.__code__, {**function.fn.__globals__, "gl": plain})


def test_the_runs_are_the_segments_those_with_a_mask_first():
    rng, runs_of, tile_of = random.Random(0), on_integers(hopper_walk.runs_of), on_integers(hopper_walk.tile_of)
    for _ in range(3000):
        keys, first, window = rng.choice([64, 128]), rng.randint(0, 30 * BLOCK), rng.randint(1, 20)
        last = first + rng.randint(0, 127)
        runs = runs_of(first, last, window, BLOCK, SINK, keys)
        walked = []
        for i in range(sum(runs[:5])):
            at, end = tile_of(i, runs, last, SINK, keys)
            walked.append((at, min(end, at + keys), i < sum(runs[:3])))
        segments = spans.prefill_segments(window, first, last, keys)
        expected = [
            (at, min(segment.end, at + keys), segment.masked)
            for segment in segments
            for at in range(segment.start, segment.end, keys)
        ]
        assert sorted(walked) == sorted(expected)


def test_the_programs_share_out_the_items():
    rng = random.Random(0)
    for _ in range(200):
        items = rng.randint(1, 900)
        programs = min(items, rng.randint(1, 140))
        turns_of = on_integers(hopper_walk.turns_of, programs)
        seen = [
            turn * programs + (program if turn % 2 == 0 else programs - 1 - program)
            for program in range(programs)
            for turn in range(turns_of(program, items))
        ]
        assert sorted(seen) == list(range(items))


def test_the_items_are_every_tile_of_every_head_the_longest_first():
    windows, q_len = (3, 9, 2, 40, 1, 1), 1000
    items = item_table(windows, q_len, q_len, torch.device("cpu"))
    tiles = -(-q_len // 128)
    assert sorted(items[:, 0].tolist()) == list(range(len(windows) * tiles))
    assert items[:, 1].tolist() == [windows[item // tiles] for item in items[:, 0].tolist()]
    keys = [
        sum(segment.end - segment.start for segment in spans.prefill_segments(window, first, last, 1))
        for item, window in items.tolist()
        for first in [item % tiles * 128]
        for last in [min(first + 128, q_len) - 1]
    ]
    assert keys == sorted(keys, reverse=True)


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource
from tessera_kernels.hopper_kernel import prefill_kernel as kernel
from tessera_kernels.prefill_hopper import HopperTiles

tiles = HopperTiles()
constants = dict(GROUP=2, BLOCK=64, SINK=64, DIM=128, KEYS=tiles.keys, STAGES=tiles.stages, TURNS=tiles.turns)
layout = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=4)
kinds = {"ITEMS": "*i32", "scale": "fp32"}
for name, rows in (("Q", 64), ("K", tiles.keys), ("V", tiles.keys), ("O", 64)):
    kinds[name + "_BOX"] = f"tensordesc<bf16[1, 1, {rows}, 128],{layout!r}>"
signature = {n: "constexpr" if n in constants else kinds.get(n, "i32") for n in kernel.arg_names}
values = {(i,): constants[n] for i, n in enumerate(kernel.arg_names) if n in constants}
ptx = compile(
    GluonASTSource(kernel, signature, values), target=GPUTarget("cuda", 90, 32), options=dict(num_warps=4, maxnreg=168)
).asm["ptx"]
print("wgmma.mma_async" in ptx, "cp.async.bulk.tensor" in ptx, "setmaxnreg" in ptx)
"""


def test_it_compiles_to_the_instructions_of_hopper_without_a_gpu(tmp_path):
    pytest.importorskip("triton.backends.nvidia")
    source = str(Path(hopper_walk.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env={"PYTHONPATH": source, "TRITON_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr[-2000:]


@pytest.mark.skipif(not HOPPER, reason="needs a Hopper GPU")
@pytest.mark.parametrize("seed", range(60))
def test_random_cases_on_hopper(seed):
    rng = random.Random(seed)
    dtype, dim = rng.choice([torch.float16, torch.bfloat16]), rng.choice([64, 128])
    group, kv_heads, batch = rng.choice([1, 2, 3, 4, 8]), rng.choice([1, 2, 4]), rng.choice([1, 2, 3])
    kv_len = rng.choice([1, 17, 63, 64, 65, 127, 128, 129, 200, 1000, 2049, 4096])
    q_len = rng.choice([kv_len, kv_len, rng.randint(1, kv_len)])
    tiles = rng.choice([HopperTiles(), HopperTiles(64, 4), HopperTiles(turns=False), HopperTiles(64, 2, False)])
    q = normal(seed, batch, q_len, group * kv_heads, dim, dtype=dtype).transpose(1, 2)
    k = normal(seed + 100, batch, kv_heads, kv_len, dim, dtype=dtype)
    v = normal(seed + 200, batch, kv_heads, kv_len, dim, dtype=dtype)
    windows = random_windows(rng, group * kv_heads, kv_len)
    out = poisoned(q)
    assert fits_hopper(q, k, v, out)
    for _ in range(3):
        hopper_prefill(q, k, v, tuple(windows), dim**-0.5, out, tiles)
        assert error(out, reference.attention(q, k, v, windows)) < BOUNDS[dtype]
