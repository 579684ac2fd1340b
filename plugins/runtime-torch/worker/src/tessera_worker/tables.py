"""Arrow IPC files in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from .errors import WorkerError

PROMPTS = pa.schema(
    [
        pa.field("prompt", pa.list_(pa.int32()), nullable=False),
        pa.field("maxNewTokens", pa.int32(), nullable=False),
        pa.field("stop", pa.list_(pa.int32()), nullable=False),
        pa.field("temperature", pa.float64()),
        pa.field("topP", pa.float64()),
        pa.field("seed", pa.int64()),
        pa.field("plan", pa.int32()),
    ]
)
GENERATIONS = pa.schema(
    [
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("ended", pa.utf8(), nullable=False),
    ]
)
CONTINUATIONS = pa.schema(
    [
        pa.field("prefix", pa.list_(pa.int32()), nullable=False),
        pa.field("continuation", pa.list_(pa.int32()), nullable=False),
        pa.field("plan", pa.int32()),
    ]
)
SCORES = pa.schema(
    [
        pa.field("loss", pa.list_(pa.float32()), nullable=False),
        pa.field("predicted", pa.list_(pa.int32()), nullable=False),
    ]
)
ITEMS = pa.schema(
    [
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("mask", pa.list_(pa.bool_()), nullable=False),
    ]
)
INFLUENCE = pa.schema(
    [
        pa.field("item", pa.int32()),
        pa.field("layer", pa.int32(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("blocks", pa.int32(), nullable=False),
        pa.field("values", pa.list_(pa.float32()), nullable=False),
    ]
)


def read(path: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """All rows of a file. Raises `WorkerError` (InvalidRequest) where the schema's columns are not there."""
    try:
        with pa.memory_map(path) as source:
            table = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise WorkerError("InvalidRequest", f"{path} cannot be read as an Arrow file: {error}") from error
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            raise WorkerError("InvalidRequest", f"{path} has no column {field.name}")
        column = table.column(field.name)
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise WorkerError(
                "InvalidRequest", f"{path}: {field.name} is {column.type}, not {field.type}: {error}"
            ) from error
        nulls = column.null_count if not field.nullable else 0
        if pa.types.is_list(field.type):
            nulls += pa.compute.list_flatten(column).null_count
        if nulls:
            raise WorkerError("InvalidRequest", f"{path}: {field.name} has nulls")
        columns.append(column.to_pylist())
    return [dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def write(path: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    with writing(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


@contextmanager
def writing(path: str, schema: pa.Schema) -> Iterator[Any]:
    """A pyarrow writer."""
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        yield writer
