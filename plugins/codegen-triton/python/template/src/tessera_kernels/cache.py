"""The KV cache of a plan: per layer one allocation for keys and one for values, in the slots of `layout`."""

from collections.abc import Sequence

import torch

from .append import append
from .constants import BLOCK, HEAD_DIM, KV_HEADS, LAYERS, SINK
from .layout import layout, positions, slots_of
from .past import Past
from .spans import layer_windows


class LayerCache:
    """Keys (after rotation) and values of one layer, [batch, slots, dim] each."""

    def __init__(
        self,
        windows: Sequence[int],
        batch: int,
        kv_heads: int,
        dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
        slack: int = 0,
    ) -> None:
        """``windows``: blocks per query head. Rings hold ``slack`` tokens more than the windows need."""
        self.windows = tuple(windows)
        self.layout = layout(windows, kv_heads, slack)
        self.keys = torch.empty((batch, self.layout.slots, dim), dtype=dtype, device=device)
        self.values = torch.empty_like(self.keys)
        self.held = torch.zeros((batch, kv_heads), dtype=torch.int32, device=device)
        """First position after the sink that a KV head may still read: older ones were lost before its ring grew."""
        self.resized = False
        """Whether `held` can be other than zero."""

    def append(
        self,
        k: torch.Tensor,
        v: torch.Tensor,
        past: torch.Tensor,
        starts: torch.Tensor | None = None,
        counts: torch.Tensor | None = None,
    ) -> None:
        """See `append.append`."""
        append(k, v, self.keys, self.values, self.layout, past, starts, counts)

    def before(self, past: torch.Tensor) -> Past:
        """The first ``past`` int [batch] tokens of each row, for prefill on top of them."""
        return Past(
            self.keys, self.values, past, self.layout.starts, self.layout.rings, self.held if self.resized else None
        )

    def resize(self, windows: Sequence[int], lengths: torch.Tensor, highest: torch.Tensor, slack: int) -> None:
        """Moves what is kept to the rings of other windows, in memory taken anew."""
        kv_heads, old = len(self.layout.starts), self.layout
        new = layout(windows, kv_heads, slack)
        sizes = torch.tensor([SINK + ring for ring in new.rings], device=lengths.device)
        head = torch.repeat_interleave(torch.arange(kv_heads, device=lengths.device), sizes)
        source = slots_of(old, positions(new, lengths).clamp(min=0), head)[..., None]
        self.keys = self.keys.gather(1, source.expand(-1, -1, self.keys.shape[2]))
        self.values = self.values.gather(1, source.expand(-1, -1, self.values.shape[2]))
        lost = highest[:, None] - torch.tensor(old.rings, dtype=torch.int32, device=lengths.device)
        self.held = torch.maximum(self.held, lost)
        self.windows, self.layout, self.resized = tuple(windows), new, True

    def select(self, rows: torch.Tensor) -> None:
        """Goes on with these rows."""
        self.keys, self.values, self.held = (t.index_select(0, rows) for t in (self.keys, self.values, self.held))

    def dense(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values by position, [batch, KV heads, length, dim] each, if all rows have ``length`` tokens.

        Zeros where nothing is kept.
        """
        batch, _, dim = self.keys.shape
        kv_heads = len(self.layout.starts)
        lengths = torch.full((1,), length, dtype=torch.int32, device=self.keys.device)
        where = positions(self.layout, lengths)[0]
        sizes = torch.tensor([SINK + ring for ring in self.layout.rings], device=where.device)
        head = torch.repeat_interleave(torch.arange(kv_heads, device=where.device), sizes)[where >= 0]
        k, v = (self.keys.new_zeros((batch, kv_heads, length, dim)) for _ in range(2))
        k[:, head, where[where >= 0]] = self.keys[:, where >= 0]
        v[:, head, where[where >= 0]] = self.values[:, where >= 0]
        return k, v


class KVCache:
    """All layers' caches and how many tokens each row has seen.

    A step is `advance`, then `attend.attend` for each layer.
    """

    def __init__(
        self,
        batch: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device | str,
        slack: int = 0,
        step: int | None = None,
    ) -> None:
        """A cache of the plan for N = ``length``.

        ``slack``: tokens that `truncate` can always take back. ``step``: N is rounded up to a multiple of it, and
        `reserve` goes on to the next; without it N is fixed and longer rows lose their oldest tokens but the sink.
        """
        if batch < 1 or length < 1 or slack < 0 or (step is not None and step < 1):
            raise ValueError(f"batch {batch}, length {length}, slack {slack}, step {step}: not a cache")
        self.step, self.slack = step, slack
        self.length = self._rounded(length)
        """N of the spans."""
        self.layers = [
            LayerCache(layer_windows(layer, self.length), batch, KV_HEADS, HEAD_DIM, dtype, device, slack)
            for layer in range(LAYERS)
        ]
        self.lengths = torch.zeros(batch, dtype=torch.int32, device=device)
        """Tokens of each row, those of the current step included."""
        self.past = torch.zeros_like(self.lengths)
        """Tokens of each row before the current step."""
        self.real: tuple[torch.Tensor, torch.Tensor] | None = None
        """First real token and number of real tokens of each row in the current step; None where nothing is padded."""
        self.fresh, self._seen = True, False
        """Whether the current step is the first."""
        self._highest = torch.zeros_like(self.lengths)

    def _rounded(self, length: int) -> int:
        return length if self.step is None else -(-length // self.step) * self.step

    def advance(self, counts: torch.Tensor | int, starts: torch.Tensor | None = None) -> None:
        """Begins a step of ``counts`` new tokens: of all rows, or int32 [batch] where rows are padded.

        Of padded rows the tokens from ``starts[row]`` on (default: 0) are real. Safe in a CUDA graph.
        """
        self.fresh = not self._seen
        self._seen = True
        self.past.copy_(self.lengths)
        self.lengths.add_(counts)
        if isinstance(counts, int):
            self.real = None
        else:
            self.real = (torch.zeros_like(counts) if starts is None else starts, counts)

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> None:
        """Stores the new tokens of the current step, [batch, KV heads, tokens, dim]; see `append.append`."""
        self.layers[layer].append(k, v, self.past, *(self.real or (None, None)))

    def bytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def reserve(self, tokens: int) -> None:
        """Grows a cache with a ``step`` so that N is at least ``tokens``; does nothing otherwise."""
        if self.step is not None and tokens > self.length:
            self.grow(tokens)

    def grow(self, length: int) -> None:
        """Plans for a longer N. Rings grow in new memory and keep more from now on; what is evicted cannot return.

        CUDA graphs that read the cache must be captured again.
        """
        if length <= self.length:
            raise ValueError(f"the cache is planned for {self.length} tokens already, which is no less than {length}")
        self._resize(self._rounded(length))

    def evict(self, length: int) -> None:
        """Plans for a shorter N: rings shrink, their oldest tokens are dropped and memory is given back."""
        if not 1 <= length < self.length:
            raise ValueError(f"a cache planned for {self.length} tokens cannot be cut to {length}")
        self._resize(length)

    def _resize(self, length: int) -> None:
        self.length = length
        highest = torch.maximum(self._highest, self.lengths)
        for index, layer in enumerate(self.layers):
            layer.resize(layer_windows(index, length), self.lengths, highest, self.slack)
        self._highest = self.lengths.clone()

    def truncate(self, lengths: Sequence[int]) -> None:
        """Takes back the newest tokens, leaving ``lengths`` of each row, as after a rejected guess.

        Raises where a ring no longer holds what the windows reach from there: make the cache with ``slack``. Waits for
        the device.
        """
        seen = self.lengths.tolist()
        if len(lengths) != len(seen) or any(not 0 <= to <= now for to, now in zip(lengths, seen, strict=True)):
            raise ValueError(f"rows of {seen} tokens cannot be cut to {list(lengths)}")
        highest = torch.maximum(self._highest, self.lengths)
        rings = sorted({(ring, ring - self._more) for layer in self.layers for ring in layer.layout.rings})
        for row, (to, top) in enumerate(zip(lengths, highest.tolist(), strict=True)):
            for ring, window in rings:
                first = max(to // BLOCK * BLOCK + BLOCK - window, SINK)
                if first < min(top - ring, to):
                    raise ValueError(
                        f"row {row}: a window from token {to} reaches back to {first}, but after {top} tokens a ring "
                        f"of {ring} begins at {top - ring}; make the cache with slack={top - to}"
                    )
        self._highest = highest
        self.lengths.copy_(torch.tensor(lengths, dtype=torch.int32))

    @property
    def _more(self) -> int:
        return -(-self.slack // BLOCK) * BLOCK

    def fork(self, rows: torch.Tensor) -> None:
        """Goes on with these rows, int [new batch], which may repeat: beams, or several samples of a prompt."""
        for layer in self.layers:
            layer.select(rows)
        self.lengths, self.past, self._highest = (
            t.index_select(0, rows) for t in (self.lengths, self.past, self._highest)
        )

    def reset(self) -> None:
        """Forgets all tokens and keeps the memory."""
        self.fresh, self._seen = True, False
        for counter in (self.lengths, self.past, self._highest, *(layer.held for layer in self.layers)):
            counter.zero_()
