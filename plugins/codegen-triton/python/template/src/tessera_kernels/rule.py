"""A head's rule: how many tokens it keeps at length N, before clamping and rounding."""

import math
from typing import NamedTuple


class Rule(NamedTuple):
    """min(alpha + beta * g(N), cap), g(N) being N, its square root or its logarithm to base 2."""

    alpha: float
    beta: float
    growth: str = "linear"
    """``linear``, ``sqrt`` or ``log2``."""
    cap: float = math.inf
    """Tokens that the span never exceeds."""

    def tokens(self, length: int) -> float:
        """What the rule asks for at length N."""
        grown = float(length)
        if self.growth == "sqrt":
            grown = math.sqrt(length)
        elif self.growth == "log2":
            grown = math.log2(length)
        return min(self.alpha + self.beta * grown, self.cap)
