"""Answers requests, one at a time."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from . import protocol, tables
from .channel import Channel
from .errors import WorkerError, interrupted
from .generate import Prompt, generate
from .gguf import convert_gguf
from .influences import influence
from .models import Model, load
from .protocol import Request
from .sampling import Sampling
from .score import Row, score

Progress = Callable[[int, int], None]


class Server:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._models: dict[str, Model] = {}
        self._handles = count(1)

    def run(self) -> None:
        """Never returns: the process ends with its standard input."""
        while True:
            request = self._channel.next()
            answer = self.answer(request)
            # Before the answer goes out: whoever has it may use the number again.
            self._channel.done(request.id)
            self._channel.send({"id": request.id, **answer})

    def answer(self, request: Request) -> dict[str, object]:
        """The request's result or error, without its number."""

        def progress(unit: str) -> Progress:
            return lambda done, total: self._channel.send(
                {"id": request.id, "progress": {"done": done, "total": total, "unit": unit}}
            )

        def cancelled() -> bool:
            return self._channel.cancelled(request.id)

        try:
            if cancelled():
                raise interrupted()
            return {"result": self._result(protocol.params_of(request), progress, cancelled)}
        except WorkerError as error:
            return _error(error.reason, error.detail)
        except (torch.OutOfMemoryError, MemoryError) as error:
            return _error("OutOfMemory", f"{request.method}: {error}")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _error("Execution", f"{request.method}: {type(error).__name__}: {error}")

    def _result(
        self, params: protocol.Params, progress: Callable[[str], Progress], cancelled: Callable[[], bool]
    ) -> dict[str, object]:
        match params:
            case protocol.Load():
                return self._load(params)
            case protocol.Unload():
                self._model(params.model)
                del self._models[params.model]
                _release()
                return {}
            case protocol.Generate():
                return self._generate(params, progress("prompts"), cancelled)
            case protocol.Score():
                return self._score(params, progress("continuations"), cancelled)
            case protocol.Influence():
                model = self._model(params.model)
                return _rows(*influence(model, params, progress("items"), cancelled))
            case protocol.ConvertGguf():
                return {"files": convert_gguf(params.file, params.folder, params.dtype)}

    def _model(self, handle: str) -> Model:
        model = self._models.get(handle)
        if model is None:
            raise WorkerError("InvalidRequest", f"no model {handle!r} is loaded; load its folder first")
        return model

    def _load(self, params: protocol.Load) -> dict[str, object]:
        model = load(params)
        handle = f"model-{next(self._handles)}"
        self._models[handle] = model
        return {
            "model": handle,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "parameters": model.parameters,
            "deviceMap": model.device_map,
        }

    def _generate(
        self, params: protocol.Generate, progress: Progress, cancelled: Callable[[], bool]
    ) -> dict[str, object]:
        model = self._model(params.model)
        if params.batchTokens is not None and params.batchTokens < 1:
            raise WorkerError(
                "InvalidRequest", f"batchTokens is {params.batchTokens}; give 1 or more, or null"
            )
        prompts = [_prompt(row) for row in tables.read(params.input, tables.PROMPTS)]
        results, retries = generate(
            model,
            prompts,
            params.plans,
            batch_tokens=params.batchTokens,
            on_progress=lambda done: progress(done, len(prompts)),
            cancelled=cancelled,
        )
        tables.write(
            params.output,
            tables.GENERATIONS,
            [{"tokens": result.tokens, "ended": result.ended} for result in results],
        )
        return _rows(len(results), retries)

    def _score(
        self, params: protocol.Score, progress: Progress, cancelled: Callable[[], bool]
    ) -> dict[str, object]:
        model = self._model(params.model)
        rows = [Row(**row) for row in tables.read(params.input, tables.CONTINUATIONS)]
        results, retries = score(
            model,
            rows,
            params.plans,
            on_progress=lambda done: progress(done, len(rows)),
            cancelled=cancelled,
        )
        tables.write(
            params.output,
            tables.SCORES,
            [{"loss": result.loss, "predicted": result.predicted} for result in results],
        )
        return _rows(len(results), retries)


def _prompt(row: dict[str, Any]) -> Prompt:
    temperature, top_p, seed = row["temperature"], row["topP"], row["seed"]
    sampling = None
    if temperature is not None:
        if seed is None:
            raise WorkerError("InvalidRequest", "a prompt has a temperature and no seed; give both")
        sampling = Sampling(temperature, 1.0 if top_p is None else top_p, seed)
    return Prompt(row["prompt"], row["maxNewTokens"], frozenset(row["stop"]), sampling, row["plan"])


def _rows(rows: int, retries: int) -> dict[str, object]:
    return {"rows": rows, "retries": retries} if retries else {"rows": rows}


def _error(reason: str, detail: str) -> dict[str, object]:
    return {"error": {"reason": reason, "detail": detail}}


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
