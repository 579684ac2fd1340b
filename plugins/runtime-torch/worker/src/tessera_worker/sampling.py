"""Choosing next tokens: greedy, or from the nucleus with a seed of the row's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .errors import WorkerError


@dataclass(frozen=True)
class Sampling:
    temperature: float
    top_p: float
    seed: int


class Sampler:
    """Draws for the rows of a batch.

    Each row has a random stream of its own, so that it does not matter which rows stand beside it.

    :param rows: None: greedy.
    """

    def __init__(self, rows: Sequence[Sampling | None], device: torch.device) -> None:
        self._device = device
        self._place([None if row is None else (row, torch.Generator().manual_seed(row.seed)) for row in rows])

    def select(self, rows: Sequence[int]) -> None:
        """Goes on with these of its rows, in this order."""
        self._place([self._rows[row] for row in rows])

    def _place(self, rows: list[tuple[Sampling, torch.Generator] | None]) -> None:
        self._rows = rows
        sampled = [row for row in rows if row is not None]
        self._streams = [stream for _, stream in sampled]
        places = [place for place, row in enumerate(rows) if row is not None]
        self._index = torch.tensor(places, dtype=torch.long, device=self._device)
        self._temperature = self._column([row.temperature for row, _ in sampled])
        self._top_p = self._column([row.top_p for row, _ in sampled])

    def _column(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)[:, None]

    def next(self, logits: torch.Tensor) -> list[int]:
        """Next token of each row, given [row, vocabulary].

        Raises `WorkerError` (Execution) for logits that are not numbers.
        """
        logits = logits.float()
        top, tokens = logits.max(-1)
        if self._streams:
            tokens = tokens.index_put((self._index,), self._draw(logits[self._index]))
        # One transfer for both.
        chosen = torch.where(torch.isfinite(top), tokens, -1).tolist()
        if -1 in chosen:
            raise not_finite("the next token")
        return [int(token) for token in chosen]

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        """The smallest set of likeliest tokens that reaches top_p; one of it, in proportion."""
        weights = torch.softmax(logits / self._temperature, -1)
        weights, ids = weights.sort(dim=-1, descending=True, stable=True)
        mass = weights.cumsum(-1)
        # A token belongs where those before it do not reach top_p yet.
        nucleus = (mass - weights < self._top_p).sum(-1, keepdim=True).clamp(min=1)
        total = mass.gather(-1, nucleus - 1)
        draws = torch.stack([torch.rand((), generator=stream) for stream in self._streams])
        place = torch.searchsorted(mass, draws.to(mass.device)[:, None] * total, right=True)
        drawn: torch.Tensor = ids.gather(-1, torch.minimum(place, nucleus - 1)).squeeze(-1)
        return drawn


def not_finite(where: str) -> WorkerError:
    return WorkerError(
        "Execution",
        f"the logits of {where} are NaN or infinite; a wider dtype (bfloat16 or float32) may help",
    )
