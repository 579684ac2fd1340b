"""The graphs in Dagster: one asset per node, executed in the process that was started."""

import os

from dagster import AssetIn, Definitions, asset, define_asset_job, in_process_executor

NODES = 1000


def leaf(i):
    @asset(name=f"node{i}")
    def node() -> int:
        return i

    return node


def follow(i):
    @asset(name=f"node{i}", ins={"count": AssetIn(f"node{i - 1}")})
    def node(count: int) -> int:
        return count + 1

    return node


@asset(name="join", ins={f"node{i}": AssetIn(f"node{i}") for i in range(NODES)})
def join(**counts) -> int:
    return sum(counts.values())


if os.environ["BENCH_GRAPH"] == "chain":
    assets = [leaf(0)] + [follow(i) for i in range(1, NODES)]
else:
    assets = [leaf(i) for i in range(NODES)] + [join]

defs = Definitions(
    assets=assets,
    jobs=[define_asset_job("all_nodes")],
    executor=in_process_executor,
)
