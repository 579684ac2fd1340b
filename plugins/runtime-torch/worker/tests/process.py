"""The real process over its pipes, and the tables that go in and out."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa

from tessera_worker import tables

SOURCE = Path(__file__).parents[1] / "src"


class Worker:
    def __init__(
        self, *arguments: str, code: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        command = ["-m", "tessera_worker"] if code is None else ["-c", code]
        self.process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "CUDA_VISIBLE_DEVICES": ""},
        )
        self.alive = 0
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def message(self) -> dict:
        """The next line but signs of life; every line must be JSON."""
        while True:
            line = self._lines.get(timeout=120)
            assert line, "the worker's output ended"
            message = json.loads(line)
            if message != {"alive": True}:
                return message
            self.alive += 1

    def answer(self, id: int | None) -> dict:
        while True:
            message = self.message()
            if message["id"] == id and "progress" not in message:
                return message

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, id: int, method: str, **params: object) -> None:
        self.write(json.dumps({"id": id, "method": method, "params": params}))

    def call(self, id: int, method: str, **params: object) -> dict:
        self.send(id, method, **params)
        return self.answer(id)

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)


def write(path: Path, schema: pa.Schema, *rows: dict) -> str:
    tables.write(str(path), schema, [{f: row.get(f) for f in schema.names} for row in rows])
    return str(path)


def read(path: Path) -> list[dict]:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
