"""The tiny models and a worker process, made once a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tessera_worker.models import Model

from .models import CONFIGS, GQA, make, open_model
from .process import Worker


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind of model."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make(tmp_path_factory.mktemp("model"), CONFIGS[name]())
        return made[name]

    return get


@pytest.fixture(scope="session")
def model(folder: Callable[[str], Path]) -> Callable[[str], Model]:
    opened: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in opened:
            opened[name] = open_model(folder(name))
        return opened[name]

    return get


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    started = Worker()
    assert "hello" in started.message()
    yield started
    assert started.end() == 0


@pytest.fixture(scope="session")
def handle(worker, folder) -> str:
    answer = worker.call(1, "load", folder=str(folder(GQA)), device="auto", dtype="auto")["result"]
    assert {k: answer[k] for k in ("dtype", "device", "deviceMap")} == {
        "dtype": "float32",
        "device": "cpu",
        "deviceMap": None,
    }
    assert answer["parameters"] > 0
    return answer["model"]


@pytest.fixture(params=sorted(CONFIGS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
