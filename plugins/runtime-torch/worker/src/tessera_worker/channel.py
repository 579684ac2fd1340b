"""The worker's ends of its pipes: a thread that reads requests, lines out, and a sign of life each second."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping

from .errors import WorkerError
from .protocol import Cancel, Request, parse_line


class Channel:
    """Takes over file descriptors 0 and 1.

    What libraries print goes to standard error from then on, and nothing but this object writes answers.
    """

    def __init__(self) -> None:
        # Child processes (compilers) do not inherit duplicates, so the pipes close with the worker.
        self._input = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._output = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", buffering=1, closefd=False)
        self._writing = threading.Lock()
        self._requests: queue.Queue[Request] = queue.Queue()
        self._pending: set[int] = set()
        self._cancelled: set[int] = set()
        self._state = threading.Lock()

    def start(self) -> None:
        """Starts both threads. The process ends as soon as standard input does, whatever it is computing."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        threading.Thread(target=self._live, name="alive", daemon=True).start()

    def send(self, message: Mapping[str, object]) -> None:
        line = (json.dumps(message, ensure_ascii=False) + "\n").encode()
        with self._writing:
            try:
                while line:
                    line = line[os.write(self._output, line) :]
            except BrokenPipeError:
                os._exit(0)

    def next(self) -> Request:
        """Waits for the next request."""
        return self._requests.get()

    def cancelled(self, id: int) -> bool:
        return id in self._cancelled

    def done(self, id: int) -> None:
        """To be called once a request's answer is known."""
        with self._state:
            self._pending.discard(id)
            self._cancelled.discard(id)

    def _read(self) -> None:
        try:
            for line in self._input:
                if line.strip():
                    self._take(line)
        except (OSError, UnicodeDecodeError) as error:
            print(f"standard input cannot be read: {error}", file=sys.stderr)
        finally:
            # A request may be running in the main thread: nobody is there for its answer.
            os._exit(0)

    def _take(self, line: str) -> None:
        try:
            message = parse_line(line)
            with self._state:
                if isinstance(message, Cancel):
                    # One for a request that has been answered meanwhile means nothing any more.
                    if message.id in self._pending:
                        self._cancelled.add(message.id)
                    return
                if message.id in self._pending:
                    raise WorkerError("InvalidRequest", f"a request {message.id} is still running or waiting")
                self._pending.add(message.id)
            self._requests.put(message)
        except WorkerError as error:
            self.send({"id": None, "error": {"reason": error.reason, "detail": error.detail}})

    def _live(self) -> None:
        while True:
            time.sleep(1)
            self.send({"alive": True})
