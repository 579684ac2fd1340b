"""A sample plan, so that the templates run as they stand. Emitted packages have their own plan here."""

PLAN = "sample"
LAYERS = 2
QUERY_HEADS = 4
KV_HEADS = 2
HEAD_DIM = 16
BLOCK = 16
SINK = 16
LENGTH = "prompt"
WINDOWS: dict[int, tuple[tuple[int, ...], ...]] = {
    512: ((31, 7, 3, 15), (5, 5, 2, 9)),
    1024: ((63, 15, 3, 31), (9, 9, 2, 17)),
}
