"""A sample plan, so that the templates run as they stand. Emitted packages have their own plan here."""

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
RULES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0, 1.0), (0.0, 0.25), (64.0, 0.0), (0.0, 0.5)),
    ((32.0, 0.125), (32.0, 0.125), (0.0, 0.5), (128.0, 0.0)),
)
