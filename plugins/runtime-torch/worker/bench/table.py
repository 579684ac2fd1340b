"""Figures as markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Figures by the name of their column.
Row = dict[str, Any]


def shown(value: object) -> str:
    if value is None:
        return "out of memory"
    if isinstance(value, float):
        return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.4g}"
    return str(value)


def table(rows: Iterable[Row]) -> list[Row]:
    """Prints rows as they come, in the columns of the first."""
    done: list[Row] = []
    for row in rows:
        if not done:
            print(_line(row) + "\n|" + " --- |" * len(row))
        done.append(row)
        print(_line(shown(row[key]) if key in row else "" for key in done[0]), flush=True)
    return done


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
