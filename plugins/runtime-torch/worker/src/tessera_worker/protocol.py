"""The messages of PROTOCOL.md: one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from .errors import WorkerError

PROTOCOL = 1

Device = Literal["auto", "cpu", "cuda"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Plan:
    """A plan lowered for one length.

    Query q keeps key k iff k ≤ q and (k < sink or ⌊k / block⌋ > ⌊q / block⌋ - window).
    """

    block: int
    """Tokens."""
    sink: int
    """Tokens."""
    windows: list[list[int]]
    """Blocks, [layer][query head]."""


@dataclass(frozen=True)
class Load:
    folder: str
    device: Device
    dtype: DType


@dataclass(frozen=True)
class Unload:
    model: str


@dataclass(frozen=True)
class Generate:
    model: str
    input: str
    output: str
    batchTokens: int | None = None
    plans: list[Plan] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Score:
    model: str
    input: str
    output: str
    plans: list[Plan] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Influence:
    model: str
    input: str
    output: str
    objective: Literal["cross-entropy", "log-odds"]
    block: int
    sum: Literal["signed", "abs"]
    keep: Literal["blocks", "windows"]
    sink: int
    total: bool


@dataclass(frozen=True)
class ConvertGguf:
    file: str
    folder: str
    dtype: Literal["float32", "bfloat16", "float16"]


Params = Load | Unload | Generate | Score | Influence | ConvertGguf

METHODS: dict[str, type[Params]] = {
    "load": Load,
    "unload": Unload,
    "generate": Generate,
    "score": Score,
    "influence": Influence,
    "convertGguf": ConvertGguf,
}


@dataclass(frozen=True)
class Request:
    id: int
    method: str
    params: object
    """As they came; `params_of` checks them, so that a bad one is answered under its id."""


@dataclass(frozen=True)
class Cancel:
    id: int


def parse_line(line: str) -> Request | Cancel:
    """Raises `WorkerError` (InvalidRequest) for a line that is neither a request nor a cancel."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise _invalid(f"the line is no JSON ({error}): {line[:80]!r}") from None
    if not isinstance(message, dict):
        raise _invalid(f"the line is no JSON object: {line[:80]!r}")
    if "cancel" in message:
        return Cancel(_check(message["cancel"], int, "cancel"))
    if "id" not in message:
        raise _invalid(f"the message has neither an id nor a cancel: {line[:80]!r}")
    return Request(
        _check(message["id"], int, "id"),
        _check(message.get("method"), str, "method"),
        message.get("params", {}),
    )


def params_of(request: Request) -> Params:
    """Raises `WorkerError` (InvalidRequest) naming what is unknown, missing or of another type."""
    kind = METHODS.get(request.method)
    if kind is None:
        raise _invalid(f"the method {request.method!r} is unknown; there are {', '.join(METHODS)}")
    return _record(request.params, kind, "params")


T = TypeVar("T")


def _invalid(detail: str) -> WorkerError:
    return WorkerError("InvalidRequest", detail)


def _record(value: object, kind: type[T], where: str) -> T:
    if not isinstance(value, dict):
        raise _invalid(f"{where} must be an object; it is {_shown(value)}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise _invalid(f"{where} has no {unknown[0]!r}; it has {', '.join(fields)}")
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            given[name] = _check(value[name], hints[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _invalid(f"{where}.{name} is missing")
    return kind(**given)


def _check(value: object, hint: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            raise _invalid(f"{where} is {_shown(value)}; it can be {', '.join(map(repr, get_args(hint)))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _check(value, next(a for a in get_args(hint) if a is not type(None)), where)
    if origin is list:
        if not isinstance(value, list):
            raise _invalid(f"{where} must be a list; it is {_shown(value)}")
        return [_check(each, get_args(hint)[0], f"{where}[{i}]") for i, each in enumerate(value)]
    if dataclasses.is_dataclass(hint):
        return _record(value, typing.cast(type, hint), where)
    # To Python a bool is an int.
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _invalid(f"{where} must be {hint.__name__}; it is {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:40]
