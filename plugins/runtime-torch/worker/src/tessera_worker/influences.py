"""The rows of an influence request: what the profile yields, as it comes."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from . import tables
from .errors import WorkerError
from .models import Model
from .protocol import Influence


def influence(
    model: Model,
    request: Influence,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> tuple[int, int]:
    """Writes the output file; returns its rows, and how often memory ran out and an item went again.

    Raises `WorkerError`.
    """
    # Another part of the package, which only this method needs.
    from .influence.profile import profile

    items = tables.read(request.input, tables.ITEMS)
    if request.block < 1 or request.sink < 0 or request.sink % request.block:
        raise WorkerError(
            "InvalidRequest",
            f"block is {request.block} and sink {request.sink}; give a positive block and a multiple of it",
        )
    for index, item in enumerate(items):
        model.check_tokens(f"item {index}", item["tokens"])
    rows = retries = 0
    with tables.writing(request.output, tables.INFLUENCE) as writer:
        for result in profile(
            model.module,
            [(item["tokens"], item["mask"]) for item in items],
            objective=request.objective,
            block=request.block,
            sum=request.sum,
            keep=request.keep,
            sink=request.sink,
            total=request.total,
            checkpointing="auto",
            on_progress=lambda done: on_progress(done, len(items)),
            cancelled=cancelled,
        ):
            for layer, values in enumerate(result.layers):
                # A batch a layer: an Arrow list holds at most 2³¹ numbers a batch.
                columns = [
                    pa.array([result.item], pa.int32()),
                    pa.array([layer], pa.int32()),
                    pa.array([result.loss], pa.float64()),
                    pa.array([result.blocks], pa.int32()),
                    pa.ListArray.from_arrays(
                        pa.array([0, values.numel()], pa.int32()), pa.array(values.reshape(-1).numpy())
                    ),
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=tables.INFLUENCE))
                rows += 1
            retries += result.retries
    return rows, retries
