"""Influence requests, through the real process."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from tessera_worker import tables
from tessera_worker.influence import profile
from tessera_worker.protocol import Request
from tessera_worker.server import Server

from .models import GQA
from .process import read, write
from .reference import tokens


@pytest.fixture
def call(worker, handle):
    def send(source: str, output: Path, **changes: object) -> dict:
        return worker.call(2, "influence", **params(handle, source, output, **changes))

    return send


def params(handle: str, source: str, output: Path, **changes: object) -> dict[str, object]:
    given: dict[str, object] = {
        "objective": "cross-entropy",
        "block": 4,
        "sum": "abs",
        "keep": "blocks",
        "sink": 4,
        "total": False,
    }
    return {"model": handle, "input": source, "output": str(output), **given, **changes}


@pytest.fixture
def source(tmp_path) -> str:
    items = [{"tokens": tokens(i, n), "mask": [False] + [True] * (n - 1)} for i, n in enumerate((10, 16))]
    return write(tmp_path / "in.arrow", tables.ITEMS, *items)


def test_a_row_per_item_and_layer_holds_the_block_sums(call, source, tmp_path):
    assert call(source, tmp_path / "out.arrow") == {"id": 2, "result": {"rows": 4}}
    rows = read(tmp_path / "out.arrow")
    assert [(row["item"], row["layer"], row["blocks"]) for row in rows] == [
        (0, 0, 3),
        (0, 1, 3),
        (1, 0, 4),
        (1, 1, 4),
    ]
    for row in rows:
        blocks = row["blocks"]
        assert len(row["values"]) == 4 * blocks * blocks and row["loss"] > 0
        for index, value in enumerate(row["values"]):
            query, key = index // blocks % blocks, index % blocks
            assert value >= 0 and (key <= query or value == 0)


def test_windows_are_sums_of_the_blocks_that_a_window_drops(call, source, tmp_path):
    call(source, tmp_path / "blocks.arrow", sum="signed")
    call(source, tmp_path / "windows.arrow", sum="signed", keep="windows")
    for whole, row in zip(read(tmp_path / "blocks.arrow"), read(tmp_path / "windows.arrow"), strict=True):
        n = whole["blocks"]
        for head in range(4):
            for window in range(n + 1):
                dropped = sum(
                    whole["values"][(head * n + q) * n + k]
                    for q in range(n)
                    for k in range(1, n)
                    if q - k >= window
                )
                assert row["values"][head * (n + 1) + window] == pytest.approx(dropped, abs=1e-5)


def test_a_total_has_no_item(call, source, tmp_path):
    call(source, tmp_path / "each.arrow", keep="windows")
    assert call(source, tmp_path / "all.arrow", keep="windows", total=True)["result"] == {"rows": 2}
    each, rows = read(tmp_path / "each.arrow"), read(tmp_path / "all.arrow")
    assert [(row["item"], row["layer"], row["blocks"]) for row in rows] == [(None, 0, 4), (None, 1, 4)]
    assert rows[0]["loss"] == pytest.approx(each[0]["loss"] + each[2]["loss"])


def test_bad_items_are_refused(call, source, tmp_path):
    def refused(file: str, **changes: object) -> str:
        error = call(file, tmp_path / "out.arrow", **changes)["error"]
        assert error["reason"] == "InvalidRequest"
        return error["detail"]

    assert "sink 3" in refused(source, sink=3)
    bad: pa.Schema = tables.ITEMS
    foreign = write(tmp_path / "bad.arrow", bad, {"tokens": [3, 97], "mask": [False, True]})
    assert "item 0: token 1 has the id 97" in refused(foreign)
    uncounted = write(tmp_path / "bad.arrow", bad, {"tokens": [3, 4], "mask": [True, False]})
    assert "item 0" in refused(uncounted)


@pytest.mark.parametrize("total", [False, True])
def test_an_item_that_goes_again_for_want_of_memory_is_told(total, folder, source, tmp_path, monkeypatch):
    class Nobody:
        def send(self, message: dict) -> None:
            """Progress."""

        def cancelled(self, id: int) -> bool:
            return False

    server = Server(Nobody())
    load = {"folder": str(folder(GQA)), "device": "cpu", "dtype": "float32"}
    handle = server.answer(Request(1, "load", load))["result"]["model"]

    def influence(output: Path) -> dict:
        return server.answer(Request(2, "influence", params(handle, source, output, total=total)))

    rows = 2 if total else 4
    assert influence(tmp_path / "whole.arrow") == {"result": {"rows": rows}}
    real, failures = profile._pass, [torch.OutOfMemoryError("injected")]

    def short(*arguments):
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(profile, "_pass", short)
    assert influence(tmp_path / "again.arrow") == {"result": {"rows": rows, "retries": 1}}
    for one, other in zip(read(tmp_path / "whole.arrow"), read(tmp_path / "again.arrow"), strict=True):
        assert one["values"] == pytest.approx(other["values"], rel=1e-5)
