"""A sample plan, so that the templates run as they stand. Emitted packages have their own plan here."""

from .rule import Rule

PLAN = "sample"
LAYERS = 2
QUERY_HEADS = 4
KV_HEADS = 2
HEAD_DIM = 16
BLOCK = 16
SINK = 16
MIN_WINDOW = 2
GROUPING = "query-head"
LENGTH = "prompt"
RULES: tuple[tuple[Rule, ...], ...] = (
    (Rule(0.0, 1.0), Rule(0.0, 0.25), Rule(64.0, 0.0), Rule(0.0, 0.5)),
    (Rule(32.0, 0.125), Rule(32.0, 0.125), Rule(0.0, 8.0, "sqrt", 96.0), Rule(128.0, 0.0)),
)
