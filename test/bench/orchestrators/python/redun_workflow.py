"""The graphs in redun: one task per node, run in threads of the scheduler's process."""

import sys

from redun import task

redun_namespace = "bench"
sys.setrecursionlimit(100_000)
NODES = 1000


@task()
def leaf(i: int) -> int:
    return i


@task()
def follow(count: int) -> int:
    return count + 1


@task()
def join(counts: list) -> int:
    return sum(counts)


@task()
def chain() -> int:
    count = leaf(0)
    for _ in range(NODES - 1):
        count = follow(count)
    return count


@task()
def fan() -> int:
    return join([leaf(i) for i in range(NODES)])
