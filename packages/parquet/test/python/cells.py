"""Parquet files through pyarrow, their cells as JSON that loses nothing.

cells.py read OUT.json FILE...          the columns of each file
cells.py write FILE FOLDER              the file's table again, once per variant, as FOLDER/<variant>.parquet
"""

import json
import math
import struct
import sys

import pyarrow as pa
import pyarrow.parquet as pq

VARIANTS = {
    **{
        f"{compression}-{version}-{'dictionary' if dictionary else 'plain'}": dict(
            compression=compression,
            data_page_version=version,
            use_dictionary=dictionary,
            version="1.0" if version == "1.0" and compression == "snappy" else "2.6",
        )
        for compression in ["none", "snappy", "gzip", "zstd"]
        for version in ["1.0", "2.0"]
        for dictionary in [True, False]
    },
    "brotli": dict(compression="brotli"),
    "lz4": dict(compression="lz4"),
    "checksums": dict(write_page_checksum=True),
    "small-groups": dict(row_group_size=7, data_page_size=64),
    "two-levels": dict(use_compliant_nested_type=False),
    "delta": dict(use_dictionary=False, column_encoding=None),
}


def bits(value: float) -> str:
    return "nan" if math.isnan(value) else struct.pack(">d", value).hex()


def cell(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": bits(value)}
    return [cell(item) for item in value]


def integral(type_):
    """The type with timestamps as the integers they are: pyarrow makes dates of them, which end at the year 9999."""
    if pa.types.is_timestamp(type_):
        return pa.int64()
    if pa.types.is_list(type_):
        return pa.list_(integral(type_.value_type))
    return type_


def columns(file):
    table = pq.read_table(file)
    return {
        name: [cell(value) for value in column.cast(integral(column.type)).to_pylist()]
        for name, column in zip(table.column_names, table.columns)
    }


def encodings(table):
    """Newer encodings, where they go with the type."""
    found = {}
    for field in table.schema:
        if pa.types.is_int32(field.type) or pa.types.is_int64(field.type):
            found[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(field.type):
            found[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_string(field.type):
            found[field.name] = "DELTA_BYTE_ARRAY" if len(found) % 2 else "DELTA_LENGTH_BYTE_ARRAY"
    return found


match sys.argv[1:]:
    case ["read", out, *files]:
        with open(out, "w") as f:
            json.dump([columns(file) for file in files], f)
    case ["write", file, folder]:
        table = pq.read_table(file)
        for name, options in VARIANTS.items():
            if name == "delta":
                options = {**options, "column_encoding": encodings(table)}
            pq.write_table(table, f"{folder}/{name}.parquet", **options)
        print("\n".join(VARIANTS))
