"""What of a model's attention none of Tessera's attentions computes."""

from __future__ import annotations

from typing import Any

import torch

from .errors import WorkerError


def refuse(slots: int, attention_mask: torch.Tensor | None, kwargs: dict[str, Any]) -> None:
    """What would be computed wrongly, `slots` keys being there."""
    if attention_mask is not None:
        raise WorkerError("Unsupported", "the model brings a mask or bias of its own into attention")
    for name in ("softcap", "s_aux", "sinks", "position_bias"):
        if kwargs.get(name) is not None:
            raise WorkerError("Unsupported", f"the model's attention uses {name}, which is not supported")
    window = kwargs.get("sliding_window")
    if window is not None and slots > window:
        raise WorkerError("Unsupported", f"the model has a sliding window of {window} tokens")
