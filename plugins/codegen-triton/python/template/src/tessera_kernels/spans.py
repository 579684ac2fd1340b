"""Spans, windows and kept key ranges of the plan: the arithmetic the kernels follow.

It is the definition of Tessera's ``packages/attention`` in Python; ``tests/golden.json`` holds values that the
emitter computed, and ``tests/test_spans.py`` compares. A window counts blocks, the query's own block included: query
``q`` keeps key ``k`` iff ``k <= q and (k < SINK or k // BLOCK > q // BLOCK - window)``.
"""

import math
from typing import NamedTuple

from .constants import (
    BLOCK,
    GROUPING,
    KV_HEADS,
    MIN_WINDOW,
    QUERY_HEADS,
    RULES,
    SINK,
)
from .rule import Rule

GROUP = QUERY_HEADS // KV_HEADS
"""Query heads that share one KV head."""


def blocks(length: int) -> int:
    """Blocks that ``length`` tokens fill, the last one perhaps in part."""
    return -(-length // BLOCK)


def span_blocks(rule: Rule, length: int) -> int:
    """Blocks kept at length N, sink included: what the rule asks for, rounded down and clamped."""
    tokens = max(rule.tokens(length), 0.0)
    # A rule that asks for the whole length is dense, even where the last block is partial.
    asked = blocks(length) if tokens >= length else math.floor(tokens / BLOCK)
    return min(max(asked, SINK // BLOCK + MIN_WINDOW), blocks(length))


def window_blocks(rule: Rule, length: int) -> int:
    """Window at length N in blocks, the diagonal block included."""
    return max(span_blocks(rule, length) - SINK // BLOCK, min(1, blocks(length)))


def cached_tokens(rule: Rule, length: int) -> int:
    """Tokens one head caches at length N."""
    return min(span_blocks(rule, length) * BLOCK, length)


def layer_windows(layer: int, length: int) -> tuple[int, ...]:
    """Window of every query head of a layer at length N, in blocks."""
    windows = tuple(window_blocks(rule, length) for rule in RULES[layer])
    if GROUPING == "query-head":
        return windows
    return tuple(window for window in windows for _ in range(GROUP))


def density(length: int) -> float:
    """Mean over layers and KV heads of cached tokens / N: bytes against the dense cache of the model."""
    total = 0
    for rules in RULES:
        tokens = [cached_tokens(rule, length) for rule in rules]
        step = GROUP if GROUPING == "query-head" else 1
        total += sum(max(tokens[i : i + step]) for i in range(0, len(tokens), step))
    return total / (len(RULES) * KV_HEADS * length)


class Segment(NamedTuple):
    """Keys ``start .. end - 1`` that a query tile visits, in steps of the key tile from ``start``."""

    start: int
    end: int
    masked: bool
    """Whether some visited pair is not kept. False: every pair is, and tiles are whole."""


def window_start(window: int, query: int) -> int:
    """First key of the window of a query position."""
    return max(query // BLOCK - window + 1, 0) * BLOCK


def prefill_segments(
    window: int, first: int, last: int, tile: int, keys: tuple[int, int] | None = None
) -> list[Segment]:
    """Keys that query positions ``first .. last`` of one head visit, ascending and disjoint.

    ``keys`` are those that are there: the cached ones alone, or those after them; default: all up to ``last``. The
    prefill kernel walks exactly these, those without a mask first.
    """
    lo, hi = (0, last + 1) if keys is None else keys
    start, start_of_last = window_start(window, first), window_start(window, last)
    apart = start > SINK
    sink_end = max(min(SINK, hi), lo) if apart else lo
    whole = lo + (sink_end - lo) // tile * tile
    start = max(start if apart else 0, lo)
    end = max(min(last + 1, hi), start)
    # Leading tiles that some rows' windows have left.
    leaving = 0 if start_of_last <= SINK else max(start_of_last - start, 0)
    edge = min(start + -(-leaving // tile) * tile, end)
    diagonal = max(edge, start + (min(first + 1, end) - start) // tile * tile)
    segments = [
        Segment(lo, whole, False),
        Segment(whole, sink_end, True),
        Segment(start, edge, True),
        Segment(edge, diagonal, False),
        Segment(diagonal, end, True),
    ]
    return [segment for segment in segments if segment.start < segment.end]


def head_order(windows: tuple[int, ...], group: int) -> list[int]:
    """Query heads in the order of work: KV groups together, those of long windows first."""
    total = [-sum(windows[at : at + group]) for at in range(0, len(windows), group)]
    return sorted(range(len(windows)), key=lambda head: (total[head // group], head // group, -windows[head]))


def decode_ranges(windows: tuple[int, ...], length: int) -> list[tuple[int, int]]:
    """Keys that the query heads sharing one KV head read at position ``length - 1``: their union."""
    start = min(window_start(window, length - 1) for window in windows)
    if start <= SINK:
        return [(0, length)]
    return [(0, SINK), (start, length)] if SINK > 0 else [(start, length)]


def decode_work(windows: tuple[int, ...], group: int, length: int, chunk: int) -> list[tuple[int, int, int]]:
    """Work items of a decode step: (KV head, split, splits), at most ``chunk`` kept keys each."""
    work: list[tuple[int, int, int]] = []
    for head in range(len(windows) // group):
        ranges = decode_ranges(windows[head * group : (head + 1) * group], length)
        kept = sum(end - start for start, end in ranges)
        splits = -(-kept // chunk)
        work += [(head, split, splits) for split in range(splits)]
    return work
