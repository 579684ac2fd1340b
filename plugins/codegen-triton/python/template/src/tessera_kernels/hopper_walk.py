"""What programs of ``hopper_kernel`` walk: items, to and fro over a sorted list, and the key tiles of an item."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

ROWS: gl.constexpr = gl.constexpr(64)
"""Query rows of a consumer; an item has those of two."""


@gluon.jit
def item_of(turn, program, items, per_row, ITEMS, tiles):
    """Batch row, query head, first query and window of a program's item of this turn; of any item past its last."""
    programs = gl.num_programs(0)
    # To and fro: who had a long item of one round has a short one of the next.
    at = turn * programs + gl.where(turn % 2 == 0, program, programs - 1 - program)
    at = gl.minimum(at, items - 1)
    entry = ITEMS + at % per_row * 2
    code = gl.load(entry)
    return at // per_row, code // tiles, code % tiles * (2 * ROWS), gl.load(entry + 1)


@gluon.jit
def turns_of(program, items):
    """How many items a program has."""
    programs = gl.num_programs(0)
    rounds = gl.cdiv(items, programs)
    last = (rounds - 1) * programs + gl.where((rounds - 1) % 2 == 0, program, programs - 1 - program)
    return gl.where(last < items, rounds, rounds - 1)


@gluon.jit
def runs_of(first, last, window, BLOCK: gl.constexpr, SINK: gl.constexpr, KEYS: gl.constexpr):
    """`spans.prefill_segments` as runs of tiles: diagonal, edge, rest of the sink (all masked), middle, sink.

    Returns the number of tiles of the five runs, and the keys where the middle ones begin.
    """
    start = gl.maximum(first // BLOCK - window + 1, 0) * BLOCK
    start_of_last = gl.maximum(last // BLOCK - window + 1, 0) * BLOCK
    apart = start > SINK
    sink_end = gl.where(apart, SINK, 0)
    start = gl.where(apart, start, 0)
    end = last + 1
    leaving = gl.where(start_of_last <= SINK, 0, gl.maximum(start_of_last - start, 0))
    edge = gl.minimum(start + gl.cdiv(leaving, KEYS) * KEYS, end)
    diagonal = gl.maximum(edge, start + (first + 1 - start) // KEYS * KEYS)
    whole = sink_end // KEYS
    return (
        gl.cdiv(end - diagonal, KEYS),
        gl.cdiv(edge - start, KEYS),
        gl.cdiv(sink_end - whole * KEYS, KEYS),
        (diagonal - edge) // KEYS,
        whole,
        diagonal,
        start,
        edge,
    )


@gluon.jit
def tile_of(i, runs, last, SINK: gl.constexpr, KEYS: gl.constexpr):
    """First key of tile i, and the key that ends its run."""
    late, leaving, rest, middle, whole, diagonal, start, edge = runs
    # From the last run to the first: each condition overrides those before it.
    at = (i - late - leaving - rest - middle) * KEYS
    end = gl.where(i >= 0, SINK, SINK)
    i_middle = i - late - leaving - rest
    at = gl.where(i_middle < middle, edge + i_middle * KEYS, at)
    end = gl.where(i_middle < middle, last + 1, end)
    in_rest = i < late + leaving + rest
    at = gl.where(in_rest, whole * KEYS, at)
    end = gl.where(in_rest, SINK, end)
    in_edge = i < late + leaving
    at = gl.where(in_edge, start + (i - late) * KEYS, at)
    end = gl.where(in_edge, edge, end)
    at = gl.where(i < late, diagonal + i * KEYS, at)
    end = gl.where(i < late, last + 1, end)
    return at, end
