"""What a request can fail with."""

from __future__ import annotations

from typing import Literal

Reason = Literal["InvalidRequest", "Unsupported", "OutOfMemory", "Execution", "InvalidModel", "Interrupted"]


class WorkerError(Exception):
    """A failed request. `detail` says what was wrong, where and what to do."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


def interrupted() -> WorkerError:
    return WorkerError("Interrupted", "the request was cancelled")
