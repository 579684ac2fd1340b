"""Prefill in Hopper's own instructions: one warp copies in bulk, two warpgroups multiply (wgmma) 64 query rows each.

A consumer issues the scores of the next tile and the values of the last one, then takes the exponentials of the next
while the values are multiplied; the two consumers take turns to issue, so that one's exponentials run during the
other's products (the schedule of FlashAttention-3, arXiv 2407.08608). Programs are persistent; each walks its share of
a list of items that is sorted by length, to and fro.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from .hopper_walk import ROWS, item_of, runs_of, tile_of, turns_of


@gluon.jit
def _produce(boxes, buffers, bars, work, q_len, kv_len, SHAPE: gl.constexpr):
    """The copying warp: the queries of each item, then its tiles of keys and values."""
    q_box, k_box, v_box, _ = boxes
    q_buf, k_buf, v_buf, _ = buffers
    q_full, q_empty, k_full, k_empty, v_full, v_empty, _ = bars
    ITEMS, items, per_row, tiles = work
    GROUP: gl.constexpr = SHAPE[0]
    BLOCK: gl.constexpr = SHAPE[1]
    SINK: gl.constexpr = SHAPE[2]
    KEYS: gl.constexpr = SHAPE[3]
    STAGES: gl.constexpr = SHAPE[5]
    program = gl.program_id(0)
    count = 0
    for turn in range(turns_of(program, items)):
        batch, head, row, window = item_of(turn, program, items, per_row, ITEMS, tiles)
        first = kv_len - q_len + row
        last = gl.minimum(first + 2 * ROWS, kv_len) - 1
        runs = runs_of(first, last, window, BLOCK, SINK, KEYS)
        kv_head = head // GROUP
        for which in gl.static_range(2):
            mbarrier.wait(q_empty.index(which), (turn & 1) ^ 1)
            mbarrier.expect(q_full.index(which), q_box.block_type.nbytes)
            tma.async_copy_global_to_shared(
                q_box, [batch, head, row + which * ROWS, 0], q_full.index(which), q_buf.index(which)
            )
        for i in range(runs[0] + runs[1] + runs[2] + runs[3] + runs[4]):
            at, _end = tile_of(i, runs, last, SINK, KEYS)
            stage, phase = count % STAGES, count // STAGES & 1
            mbarrier.wait(k_empty.index(stage), phase ^ 1)
            mbarrier.expect(k_full.index(stage), k_box.block_type.nbytes)
            tma.async_copy_global_to_shared(k_box, [batch, kv_head, at, 0], k_full.index(stage), k_buf.index(stage))
            mbarrier.wait(v_empty.index(stage), phase ^ 1)
            mbarrier.expect(v_full.index(stage), v_box.block_type.nbytes)
            tma.async_copy_global_to_shared(v_box, [batch, kv_head, at, 0], v_full.index(stage), v_buf.index(stage))
            count += 1


@gluon.jit
def _exponentials(
    scores,
    top,
    total,
    rows,
    row_start,
    at,
    end,
    scale,
    MASKED: gl.constexpr,
    SINK: gl.constexpr,
    KEYS: gl.constexpr,
    LAYOUT: gl.constexpr,
):
    """One step of the online softmax: weights, new maxima and sums, and what the sums before are worth now."""
    if MASKED:
        keys = at + gl.arange(0, KEYS, layout=gl.SliceLayout(0, LAYOUT))
        near = (keys < SINK)[None, :] | (keys[None, :] >= row_start[:, None])
        kept = (keys < end)[None, :] & (keys[None, :] <= rows[:, None]) & near
        scores = gl.where(kept, scores, float("-inf"))
    new_top = gl.maximum(top, gl.max(scores, 1) * scale)
    # A row may have met no kept key yet: -inf - -inf must not become NaN.
    shift = gl.where(new_top == float("-inf"), 0.0, new_top) if MASKED else new_top
    weights = gl.exp2(scores * scale - shift[:, None])
    decay = gl.exp2(top - shift)
    return weights, new_top, total * decay + gl.sum(weights, 1), decay


@gluon.jit
def _after(total):
    """Sums as they are, but what follows waits for them: sums are not negative, so the branch is never taken.

    Without a branch that depends on the exponentials the assembler moves them behind the wait for the products.
    """
    return gl.inline_asm_elementwise(
        "{ .reg .pred p; .reg .f32 s; add.f32 s, $2, $3; setp.lt.f32 p, s, 0f00000000; @p nanosleep.u32 1;"
        " mov.b32 $0, $2; mov.b32 $1, $3; }",
        "=f,=f,f,f",
        [total],
        dtype=gl.float32,
        is_pure=False,
        pack=2,
    )


@gluon.jit
def _steps(
    low,
    high,
    count,
    steps,
    weights,
    acc,
    top,
    total,
    q,
    k_buf,
    v_buf,
    bars,
    rows,
    row_start,
    runs,
    last,
    scale,
    WHICH: gl.constexpr,
    MASKED: gl.constexpr,
    SHAPE: gl.constexpr,
    S_LAYOUT: gl.constexpr,
    O_LAYOUT: gl.constexpr,
):
    """Tiles low .. high - 1: scores of each, values of the one before it."""
    _, _, k_full, k_empty, v_full, v_empty, turns = bars
    SINK: gl.constexpr = SHAPE[2]
    KEYS: gl.constexpr = SHAPE[3]
    DIM: gl.constexpr = SHAPE[4]
    STAGES: gl.constexpr = SHAPE[5]
    TURNS: gl.constexpr = SHAPE[6]
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=O_LAYOUT, k_width=2)
    for i in range(low, high):
        here = count + i
        stage, phase = here % STAGES, here // STAGES & 1
        old, old_phase = (here - 1) % STAGES, (here - 1) // STAGES & 1
        if TURNS:
            mbarrier.wait(turns.index(WHICH), (steps & 1) ^ (1 - WHICH))
        mbarrier.wait(k_full.index(stage), phase)
        k = k_buf.index(stage).reshape([KEYS, DIM]).permute([1, 0])
        zeros = gl.zeros([ROWS, KEYS], gl.float32, layout=S_LAYOUT)
        scores = warpgroup_mma(q, k, zeros, use_acc=False, is_async=True)
        mbarrier.wait(v_full.index(old), old_phase)
        v = v_buf.index(old).reshape([KEYS, DIM])
        acc = warpgroup_mma(weights, v, acc, is_async=True)
        if TURNS:
            mbarrier.arrive(turns.index(1 - WHICH), count=1)
        scores = warpgroup_mma_wait(1, deps=[scores])
        mbarrier.arrive(k_empty.index(stage), count=1)
        at, end = tile_of(i, runs, last, SINK, KEYS)
        new_weights, top, total, decay = _exponentials(
            scores, top, total, rows, row_start, at, end, scale, MASKED, SINK, KEYS, S_LAYOUT
        )
        total = _after(total)
        # The weights stay in their registers until the product that reads them is done.
        acc, weights = warpgroup_mma_wait(0, deps=[acc, weights])
        mbarrier.arrive(v_empty.index(old), count=1)
        acc = acc * gl.convert_layout(decay, gl.SliceLayout(1, O_LAYOUT))[:, None]
        weights = gl.convert_layout(new_weights.to(k_buf.dtype), A_LAYOUT)
        steps += 1
    return steps, weights, acc, top, total


@gluon.jit
def _consume(
    boxes,
    buffers,
    bars,
    work,
    q_len,
    kv_len,
    scale,
    WHICH: gl.constexpr,
    SHAPE: gl.constexpr,
    S_LAYOUT: gl.constexpr,
    O_LAYOUT: gl.constexpr,
):
    """One of the two multiplying warpgroups: the upper or the lower 64 query rows of each item."""
    o_box = boxes[3]
    q_buf, k_buf, v_buf, o_buf = buffers
    q_full, q_empty, k_full, k_empty, v_full, v_empty, _ = bars
    ITEMS, items, per_row, tiles = work
    BLOCK: gl.constexpr = SHAPE[1]
    SINK: gl.constexpr = SHAPE[2]
    KEYS: gl.constexpr = SHAPE[3]
    DIM: gl.constexpr = SHAPE[4]
    STAGES: gl.constexpr = SHAPE[5]
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=O_LAYOUT, k_width=2)
    program = gl.program_id(0)
    q = q_buf.index(WHICH).reshape([ROWS, DIM])
    o = o_buf.index(WHICH)
    lanes = gl.arange(0, ROWS, layout=gl.SliceLayout(1, S_LAYOUT))
    count = 0
    steps = 0
    # The next item is read while this one is worked on.
    next_batch, next_head, next_row, next_window = item_of(0, program, items, per_row, ITEMS, tiles)
    for turn in range(turns_of(program, items)):
        batch, head, row, window = next_batch, next_head, next_row, next_window
        next_batch, next_head, next_row, next_window = item_of(turn + 1, program, items, per_row, ITEMS, tiles)
        first = kv_len - q_len + row
        last = gl.minimum(first + 2 * ROWS, kv_len) - 1
        runs = runs_of(first, last, window, BLOCK, SINK, KEYS)
        masked = runs[0] + runs[1] + runs[2]
        n = masked + runs[3] + runs[4]
        rows = first + WHICH * ROWS + lanes
        row_start = gl.maximum(rows // BLOCK - window + 1, 0) * BLOCK
        acc = gl.zeros([ROWS, DIM], gl.float32, layout=O_LAYOUT)
        top = gl.full([ROWS], float("-inf"), gl.float32, layout=gl.SliceLayout(1, S_LAYOUT))
        total = gl.zeros([ROWS], gl.float32, layout=gl.SliceLayout(1, S_LAYOUT))

        mbarrier.wait(q_full.index(WHICH), turn & 1)
        stage, phase = count % STAGES, count // STAGES & 1
        mbarrier.wait(k_full.index(stage), phase)
        k = k_buf.index(stage).reshape([KEYS, DIM]).permute([1, 0])
        zeros = gl.zeros([ROWS, KEYS], gl.float32, layout=S_LAYOUT)
        scores = warpgroup_mma(q, k, zeros, use_acc=False, is_async=True)
        scores = warpgroup_mma_wait(0, deps=[scores])
        mbarrier.arrive(k_empty.index(stage), count=1)
        at, end = tile_of(0, runs, last, SINK, KEYS)
        first_weights, top, total, _decay = _exponentials(
            scores, top, total, rows, row_start, at, end, scale, True, SINK, KEYS, S_LAYOUT
        )
        weights = gl.convert_layout(first_weights.to(k_buf.dtype), A_LAYOUT)
        # fmt: off
        steps, weights, acc, top, total = _steps(
            1, masked, count, steps, weights, acc, top, total, q, k_buf, v_buf, bars, rows, row_start, runs, last,
            scale, WHICH, True, SHAPE, S_LAYOUT, O_LAYOUT,
        )
        steps, weights, acc, top, total = _steps(
            gl.maximum(masked, 1), n, count, steps, weights, acc, top, total, q, k_buf, v_buf, bars, rows, row_start,
            runs, last, scale, WHICH, False, SHAPE, S_LAYOUT, O_LAYOUT,
        )
        # fmt: on
        mbarrier.arrive(q_empty.index(WHICH), count=1)
        count += n
        old, old_phase = (count - 1) % STAGES, (count - 1) // STAGES & 1
        mbarrier.wait(v_full.index(old), old_phase)
        acc = warpgroup_mma(weights, v_buf.index(old).reshape([KEYS, DIM]), acc, is_async=True)
        acc, weights = warpgroup_mma_wait(0, deps=[acc, weights])
        mbarrier.arrive(v_empty.index(old), count=1)
        result = acc / gl.convert_layout(total, gl.SliceLayout(1, O_LAYOUT))[:, None]
        # The item before this one must have left the buffer.
        tma.store_wait(0)
        gl.thread_barrier()
        o.reshape([ROWS, DIM]).store(result.to(k_buf.dtype))
        fence_async_shared()
        gl.thread_barrier()
        tma.async_copy_shared_to_global(o_box, [batch, head, row + WHICH * ROWS, 0], o)
    tma.store_wait(0)


@gluon.jit
def prefill_kernel(
    Q_BOX,
    K_BOX,
    V_BOX,
    O_BOX,
    ITEMS,
    items,
    per_row,
    tiles,
    q_len,
    kv_len,
    scale,
    GROUP: gl.constexpr,
    BLOCK: gl.constexpr,
    SINK: gl.constexpr,
    KEYS: gl.constexpr,
    DIM: gl.constexpr,
    STAGES: gl.constexpr,
    TURNS: gl.constexpr,
):
    SHAPE: gl.constexpr = (GROUP, BLOCK, SINK, KEYS, DIM, STAGES, TURNS)
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, DIM, 16])
    q_buf = gl.allocate_shared_memory(Q_BOX.dtype, [2, 1, 1, ROWS, DIM], Q_BOX.layout)
    o_buf = gl.allocate_shared_memory(Q_BOX.dtype, [2, 1, 1, ROWS, DIM], O_BOX.layout)
    k_buf = gl.allocate_shared_memory(Q_BOX.dtype, [STAGES, 1, 1, KEYS, DIM], K_BOX.layout)
    v_buf = gl.allocate_shared_memory(Q_BOX.dtype, [STAGES, 1, 1, KEYS, DIM], V_BOX.layout)
    q_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    q_empty = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    turns = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(2):
        mbarrier.init(q_full.index(i), count=1)
        mbarrier.init(q_empty.index(i), count=1)
        mbarrier.init(turns.index(i), count=1)
    for i in gl.static_range(STAGES):
        mbarrier.init(k_full.index(i), count=1)
        mbarrier.init(v_full.index(i), count=1)
        # Both consumers read each tile.
        mbarrier.init(k_empty.index(i), count=2)
        mbarrier.init(v_empty.index(i), count=2)
    fence_async_shared()

    boxes = (Q_BOX, K_BOX, V_BOX, O_BOX)
    buffers = (q_buf, k_buf, v_buf, o_buf)
    bars = (q_full, q_empty, k_full, k_empty, v_full, v_empty, turns)
    work = (ITEMS, items, per_row, tiles)
    gl.warp_specialize(
        [
            (_consume, (boxes, buffers, bars, work, q_len, kv_len, scale, 0, SHAPE, S_LAYOUT, O_LAYOUT)),
            (_consume, (boxes, buffers, bars, work, q_len, kv_len, scale, 1, SHAPE, S_LAYOUT, O_LAYOUT)),
            (_produce, (boxes, buffers, bars, work, q_len, kv_len, SHAPE)),
        ],
        [4, 1],
        [240, 24],
    )
