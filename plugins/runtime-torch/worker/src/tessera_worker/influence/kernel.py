# mypy: ignore-errors
"""Block sums of influence on the GPU, without an N × N matrix in memory.

With S the scaled scores, A = softmax(S), dA = dO Vᵀ and δ = Σ_k A dA, the influence of dropping A[i, j] with
the row renormalised is E = A (δ − dA) / (1 − A), which is −(∂L/∂S) / (1 − A) (MoA §4.1). Both δ − dA and
1 − A cancel where one key takes nearly all the attention of a row. So a first pass keeps that entry b (at
most one a row has A > 1/2) apart and sums over the other keys:

    rest = Σ A,   s = Σ A dA,   t = δ = s + A_b dA_b   →   E_b = A_b (s / rest − dA_b),   A_b = 1 − rest.

A row without other keys has E_b = 0. The second pass sums E, or |E|, over cells of 16 queries × `CELL` keys;
blocks are sums of cells. Each cell is written by one program in a fixed order, so results repeat bit by bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Above this an entry stands apart. A little over 1/2, so that rounding can't set two apart.
_APART = tl.constexpr(-0.9971)
_ROW_HAS_APART = tl.constexpr(0.75)


@triton.jit
def _exp2(x, FAST: tl.constexpr):
    if FAST:
        y = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        y = tl.exp2(x)
    return y


@triton.jit
def _reciprocal(x, FAST: tl.constexpr):
    if FAST:
        y = tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        y = 1.0 / x
    return y


@triton.jit
def _rows(base, first, stride, limit, dim, COUNT: tl.constexpr, D: tl.constexpr, WHOLE: tl.constexpr):
    """Rows [first, first + COUNT) of a matrix [limit, dim], zero outside it."""
    at = tl.arange(0, COUNT)
    d = tl.arange(0, D)
    where = base + tl.cast(first, tl.int64) * stride + at[:, None] * stride + d[None, :]
    if WHOLE:
        tile = tl.load(where)
    else:
        tile = tl.load(where, mask=(first + at[:, None] < limit) & (d[None, :] < dim), other=0.0)
    return tile


@triton.jit
def _keys(matrix, head, first, stride, limit, dim, BN: tl.constexpr, D: tl.constexpr, EXACT: tl.constexpr,
          MASKED: tl.constexpr, TMA: tl.constexpr):  # fmt: skip
    """A tile of keys or values [BN, D] of one KV head.

    `matrix` is a tensor descriptor, or the head's first address.
    """
    if TMA:
        tile = tl.reshape(matrix.load([head, first, 0]), (BN, D))
    else:
        tile = _rows(matrix, first, stride, limit, dim, BN, D, EXACT and not MASKED)
    return tile


@triton.jit
def _fold(x, M: tl.constexpr, N: tl.constexpr):
    """[M, N] → [M, 8]: sums of columns that one thread holds, so that threads meet once, after the loop."""
    return tl.sum(tl.reshape(x, (M, N // 8, 8)), 1)


@triton.jit
def _cells(e, M: tl.constexpr, N: tl.constexpr, CELL: tl.constexpr):
    """[M, N] → [M / 16, N / CELL], first over what one thread holds."""
    e = tl.reshape(e, (M // 16, 2, 8, N // CELL, CELL // 8, 8))
    e = tl.sum(tl.sum(e, 4), 1)
    return tl.sum(tl.sum(e, 3), 1)


@triton.jit
def _products(q, do, k_at, v_at, kv, first, skn, svn, N, dim, BN: tl.constexpr, D: tl.constexpr,
              EXACT: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
              PRECISION: tl.constexpr):  # fmt: skip
    """The scores, not scaled, and ∂L/∂A of a tile [BM, BN]."""
    k = _keys(k_at, kv, first, skn, N, dim, BN, D, EXACT, MASKED, TMA)
    v = _keys(v_at, kv, first, svn, N, dim, BN, D, EXACT, MASKED, TMA)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    return scores, tl.dot(do, tl.trans(v), input_precision=PRECISION)


@triton.jit
def _add_statistics(scores, da, lse2, scale2, rows, first, rest, s, t, MASKED: tl.constexpr, BM: tl.constexpr,
                    BN: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    x = scores * scale2 - lse2[:, None]
    if MASKED:
        x = tl.where(rows[:, None] >= first + tl.arange(0, BN)[None, :], x, float("-inf"))
    a = _exp2(x, FAST)
    other = tl.where(x > _APART, 0.0, a)
    return rest + _fold(other, BM, BN), s + _fold(other * da, BM, BN), t + _fold(a * da, BM, BN)


@triton.jit
def row_statistics(
    Q, K, V, DO, LSE, DELTA, APART,
    sqh, sqn, skh, skn, svh, svn, sdh, sdn,
    N, dim, scale2,
    GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, EXACT: tl.constexpr,
    TMA: tl.constexpr, OVERLAP: tl.constexpr, FAST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """δ of every row, and E of its entry that stands apart (infinity where there is none)."""
    h = tl.program_id(0)
    start = (tl.num_programs(1) - 1 - tl.program_id(1)) * BM
    rows = start + tl.arange(0, BM)
    do = _rows(DO + h.to(tl.int64) * sdh, start, sdn, N, dim, BM, D, False)
    out = h.to(tl.int64) * N + rows
    if tl.max(tl.max((do != 0).to(tl.int32), 1), 0) == 0:
        tl.store(DELTA + out, tl.zeros([BM], tl.float32), mask=rows < N)
        tl.store(APART + out, tl.full([BM], float("inf"), tl.float32), mask=rows < N)
    else:
        kv = h // GROUP
        k_at = K
        v_at = V
        if not TMA:
            k_at += kv.to(tl.int64) * skh
            v_at += kv.to(tl.int64) * svh
        q = _rows(Q + h.to(tl.int64) * sqh, start, sqn, N, dim, BM, D, False)
        lse2 = tl.load(LSE + out, mask=rows < N, other=float("inf")) * 1.4426950408889634
        rest = tl.zeros([BM, 8], tl.float32)
        s = tl.zeros([BM, 8], tl.float32)
        t = tl.zeros([BM, 8], tl.float32)
        tail = start
        if OVERLAP:
            # The products of the next tile run beside the arithmetic of this one.
            x, da = _products(q, do, k_at, v_at, kv, 0, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION)
            for n in range(BN, start + 1, BN):
                y, db = _products(
                    q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION
                )
                rest, s, t = _add_statistics(
                    x, da, lse2, scale2, rows, n - BN, rest, s, t, False, BM, BN, FAST
                )
                x = y
                da = db
            rest, s, t = _add_statistics(x, da, lse2, scale2, rows, start, rest, s, t, True, BM, BN, FAST)
            tail += BN
        else:
            for n in range(0, start, BN):
                x, da = _products(
                    q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, False, TMA, PRECISION
                )
                rest, s, t = _add_statistics(x, da, lse2, scale2, rows, n, rest, s, t, False, BM, BN, FAST)
        for n in range(tail, tl.minimum(start + BM, N), BN):
            x, da = _products(q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION)
            rest, s, t = _add_statistics(x, da, lse2, scale2, rows, n, rest, s, t, True, BM, BN, FAST)
        rest_sum = tl.sum(rest, 1)
        s_sum = tl.sum(s, 1)
        delta = tl.sum(t, 1)
        own = 1.0 - rest_sum
        apart = s_sum * (own / tl.maximum(rest_sum, 1e-37)) - (delta - s_sum)
        apart = tl.where(rest_sum > 0.0, apart, 0.0)
        tl.store(DELTA + out, delta, mask=rows < N)
        tl.store(APART + out, tl.where(rest_sum < _ROW_HAS_APART, apart, float("inf")), mask=rows < N)


@triton.jit
def _store_sums(out, inside, columns_left, scores, da, lse2, scale2, delta, threshold, apart, rows, first,
                MASKED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CELL: tl.constexpr,
                ABS: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    x = lse2[:, None] - scores * scale2
    if MASKED:
        x = tl.where(rows[:, None] >= first + tl.arange(0, BN)[None, :], x, float("inf"))
        inside = inside & (tl.arange(0, BN // CELL)[None, :] < columns_left)
    # A / (1 − A) = 1 / (1 / A − 1), which is 0 where 1 / A overflows.
    e = _reciprocal(_exp2(x, FAST) - 1.0, FAST) * (delta[:, None] - da)
    e = tl.where(x < threshold[:, None], apart[:, None], e)
    if ABS:
        e = tl.abs(e)
    tl.store(out + first // CELL, _cells(e, BM, BN, CELL), mask=inside)


@triton.jit
def cell_sums(
    Q, K, V, DO, LSE, DELTA, APART, OUT,
    sqh, sqn, skh, skn, svh, svn, sdh, sdn,
    N, dim, out_rows, out_columns, scale2,
    GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, CELL: tl.constexpr,
    ABS: tl.constexpr, EXACT: tl.constexpr, TMA: tl.constexpr, OVERLAP: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums of E or |E| over cells, into OUT [query head, out_rows, out_columns], which is zero beforehand."""
    h = tl.program_id(0)
    start = (tl.num_programs(1) - 1 - tl.program_id(1)) * BM
    rows = start + tl.arange(0, BM)
    do = _rows(DO + h.to(tl.int64) * sdh, start, sdn, N, dim, BM, D, False)
    if tl.max(tl.max((do != 0).to(tl.int32), 1), 0) != 0:
        kv = h // GROUP
        k_at = K
        v_at = V
        if not TMA:
            k_at += kv.to(tl.int64) * skh
            v_at += kv.to(tl.int64) * svh
        q = _rows(Q + h.to(tl.int64) * sqh, start, sqn, N, dim, BM, D, False)
        at = h.to(tl.int64) * N + rows
        lse2 = tl.load(LSE + at, mask=rows < N, other=float("inf")) * 1.4426950408889634
        delta = tl.load(DELTA + at, mask=rows < N, other=0.0)
        apart = tl.load(APART + at, mask=rows < N, other=float("inf"))
        # In a row with an entry apart the others are below 1/2; in other rows none is, but by rounding.
        threshold = tl.where(apart < float("inf"), 1.0, float("-inf"))
        r = start // 16 + tl.arange(0, BM // 16)
        c = tl.arange(0, BN // CELL)
        out = (
            OUT + h.to(tl.int64) * out_rows * out_columns + r[:, None].to(tl.int64) * out_columns + c[None, :]
        )
        inside = (r[:, None] < out_rows) & (c[None, :] < BN // CELL)
        tail = start
        if OVERLAP:
            x, da = _products(q, do, k_at, v_at, kv, 0, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION)
            for n in range(BN, start + 1, BN):
                y, db = _products(
                    q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION
                )
                _store_sums(out, inside, 0, x, da, lse2, scale2, delta, threshold, apart, rows, n - BN,
                            False, BM, BN, CELL, ABS, FAST)  # fmt: skip
                x = y
                da = db
            _store_sums(out, inside, out_columns - start // CELL, x, da, lse2, scale2, delta, threshold,
                        apart, rows, start, True, BM, BN, CELL, ABS, FAST)  # fmt: skip
            tail += BN
        else:
            for n in range(0, start, BN):
                x, da = _products(
                    q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, False, TMA, PRECISION
                )
                _store_sums(out, inside, 0, x, da, lse2, scale2, delta, threshold, apart, rows, n,
                            False, BM, BN, CELL, ABS, FAST)  # fmt: skip
        for n in range(tail, tl.minimum(start + BM, N), BN):
            x, da = _products(q, do, k_at, v_at, kv, n, skn, svn, N, dim, BN, D, EXACT, True, TMA, PRECISION)
            _store_sums(out, inside, out_columns - n // CELL, x, da, lse2, scale2, delta, threshold, apart,
                        rows, n, True, BM, BN, CELL, ABS, FAST)  # fmt: skip
