"""The protocol, with the real process over its pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tessera_worker import tables

from .models import GQA
from .process import SOURCE, Worker, read, write
from .reference import Reference, tokens


def test_hello_says_what_runs():
    worker = Worker()
    hello = worker.message()["hello"]
    assert hello["protocol"] == 1 and hello["devices"] == [] and hello["cudnn"] is None
    assert {"generate", "score", "influence"} <= set(hello["capabilities"])
    assert set(hello) == {
        *("protocol", "worker", "python", "torch", "transformers", "triton"),
        *("devices", "cuda", "cudnn", "capabilities"),
    }
    assert worker.end() == 0


def test_generate_answers_in_order_with_progress(worker, handle, folder, tmp_path):
    prompts = [{"prompt": tokens(i, 4 + i), "maxNewTokens": 3, "stop": []} for i in range(3)]
    source = write(tmp_path / "in.arrow", tables.PROMPTS, *prompts)
    output = tmp_path / "out.arrow"
    worker.send(2, "generate", model=handle, input=source, output=str(output), batchTokens=None)
    progress = [worker.message() for _ in range(3)]
    assert progress[-1] == {"id": 2, "progress": {"done": 3, "total": 3, "unit": "prompts"}}
    assert worker.answer(2) == {"id": 2, "result": {"rows": 3}}
    reference = Reference(folder(GQA))
    assert read(output) == [
        {"tokens": reference.greedy(row["prompt"], 3), "ended": "length"} for row in prompts
    ]


def test_score_answers_with_losses(worker, handle, folder, tmp_path):
    plan = {"block": 4, "sink": 4, "windows": [[1, 2, 1, 3], [2, 1, 1, 1]]}
    row = {"prefix": tokens(1, 20), "continuation": tokens(2, 5), "plan": 0}
    source = write(tmp_path / "in.arrow", tables.CONTINUATIONS, row)
    output = tmp_path / "out.arrow"
    answer = worker.call(3, "score", model=handle, input=source, output=str(output), plans=[plan])
    assert answer == {"id": 3, "result": {"rows": 1}}
    from tessera_worker.protocol import Plan

    expected = Reference(folder(GQA)).loss(row["prefix"], row["continuation"], Plan(**plan))
    assert read(output)[0]["loss"] == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("line", "id", "message"),
    [
        ("{", None, "no JSON"),
        ("[]", None, "no JSON object"),
        ('{"method": "load"}', None, "neither an id nor a cancel"),
        ('{"id": "x", "method": "load"}', None, "id must be int"),
        ('{"id": 9, "method": "fly"}', 9, "method 'fly' is unknown"),
        ('{"id": 9, "method": "load", "params": {"folder": "x"}}', 9, "params.device is missing"),
        (
            '{"id": 9, "method": "load", "params": {"folder": "x", "device": "tpu", "dtype": "auto"}}',
            9,
            "params.device is 'tpu'; it can be 'auto', 'cpu', 'cuda'",
        ),
        ('{"id": 9, "method": "unload", "params": {"model": "m", "x": 1}}', 9, "has no 'x'"),
        ('{"id": 9, "method": "unload", "params": {"model": "m"}}', 9, "no model 'm' is loaded"),
    ],
)
def test_a_bad_line_gets_an_error_and_the_worker_goes_on(worker, line, id, message):
    worker.write(line)
    answer = worker.answer(id)
    assert answer["error"]["reason"] == "InvalidRequest"
    assert message in answer["error"]["detail"]


def test_a_file_that_is_no_table_gets_an_error(worker, handle, tmp_path):
    (tmp_path / "in.arrow").write_text("nothing")
    paths = {"input": str(tmp_path / "in.arrow"), "output": str(tmp_path / "out.arrow")}
    answer = worker.call(4, "score", model=handle, plans=[], **paths)
    assert answer["error"]["reason"] == "InvalidRequest" and "in.arrow" in answer["error"]["detail"]
    write(tmp_path / "in.arrow", tables.SCORES)
    answer = worker.call(4, "score", model=handle, plans=[], **paths)
    assert "has no column prefix" in answer["error"]["detail"]


def test_a_cancel_interrupts_the_running_and_the_waiting_request(worker, handle, tmp_path):
    source = write(
        tmp_path / "in.arrow",
        tables.PROMPTS,
        {"prompt": tokens(1, 4), "maxNewTokens": 4, "stop": []},
        {"prompt": tokens(1, 4), "maxNewTokens": 250, "stop": []},
    )
    params = {"model": handle, "input": source, "output": str(tmp_path / "out.arrow"), "batchTokens": None}
    worker.send(5, "generate", **params)
    worker.send(6, "generate", **params)
    # The first prompt has ended, so the request is running.
    assert worker.message()["progress"]["done"] == 1
    worker.write('{"cancel": 6}')
    worker.write('{"cancel": 5}')
    assert worker.answer(5)["error"]["reason"] == "Interrupted"
    assert worker.answer(6)["error"]["reason"] == "Interrupted"
    # An answered request cannot be cancelled any more, and its number can be used again.
    worker.write('{"cancel": 5}')
    assert "error" in worker.call(5, "unload", model="none")


def test_an_idle_worker_says_each_second_that_it_lives(worker):
    seen = worker.alive
    time.sleep(2.5)
    worker.call(7, "unload", model="none")
    assert worker.alive >= seen + 2


def test_unloading_forgets_the_model(worker, folder):
    handle = worker.call(8, "load", folder=str(folder(GQA)), device="cpu", dtype="float32")["result"]["model"]
    assert worker.call(8, "unload", model=handle) == {"id": 8, "result": {}}
    assert "no model" in worker.call(8, "unload", model=handle)["error"]["detail"]


def test_what_libraries_print_does_not_get_into_the_channel(folder):
    code = (
        "import os, sys; from tessera_worker import server, __main__; real = server.load\n"
        "def noisy(request):\n"
        "    print('noise'); os.write(1, b'more noise\\n'); os.system('echo noise of a child')\n"
        "    assert sys.stdin.read() == ''\n"
        "    return real(request)\n"
        "server.load = noisy; __main__.main()"
    )
    worker = Worker(code=code)
    assert "hello" in worker.message()
    assert "result" in worker.call(1, "load", folder=str(folder(GQA)), device="cpu", dtype="float32")
    assert worker.end() == 0


def test_the_worker_ends_at_once_when_its_input_does_though_a_request_runs(tmp_path):
    code = (
        "import time; from tessera_worker import server, __main__\n"
        "server.load = lambda request: time.sleep(600); __main__.main()"
    )
    worker = Worker(code=code)
    assert "hello" in worker.message()
    worker.send(1, "load", folder=str(tmp_path), device="cpu", dtype="float32")
    time.sleep(0.5)
    began = time.monotonic()
    assert worker.end() == 0
    assert time.monotonic() - began < 5


def test_the_worker_ends_when_its_parent_is_killed():
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'tessera_worker'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert "hello" in parent.stdout.readline()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # The pipe that it shared with its parent ends when it does.
    assert parent.stdout.read() is not None
    with pytest.raises(ProcessLookupError):
        for _ in range(50):
            os.kill(child, 0)
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("reason", "installed", "message"),
    [
        ("MissingPackage", "{'torch': None}", "torch is missing"),
        ("WrongVersion", "{'transformers': '4.57.1'}", "transformers is 4.57.1; install transformers>=5.17"),
    ],
)
def test_a_lacking_environment_is_fatal_before_it_is_imported(reason, installed, message):
    code = (
        "import sys; from tessera_worker import environment, __main__; real = environment._version\n"
        f"given = {installed}\n"
        "environment._version = lambda name: given[name] if name in given else real(name)\n"
        "sys.modules['torch'] = None\n"
        "__main__.main()"
    )
    worker = Worker(code=code)
    fatal = worker.message()["fatal"]
    assert fatal["reason"] == reason and message in fatal["detail"]
    assert worker.process.wait(30) == 3


def test_a_gpu_that_is_asked_for_and_not_there_is_fatal():
    worker = Worker("--device", "cuda")
    assert worker.message()["fatal"]["reason"] == "NoDevice"
    assert worker.process.wait(30) == 3
