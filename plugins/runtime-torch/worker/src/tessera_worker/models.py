"""Loaded models: a Hugging Face folder through transformers, with Tessera's attention."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from . import attention
from .cache import KvCache
from .errors import WorkerError
from .folders import check_config, check_weights
from .protocol import Load, Plan
from .windows import Reading

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# What of a GPU's free memory weights may take: the rest is for activations and the cache.
SHARE = 0.85


@dataclass(frozen=True)
class Model:
    module: PreTrainedModel
    folder: Path
    device: torch.device
    """Where token ids go."""
    dtype: torch.dtype
    device_map: dict[str, str] | None
    """Module to device; None on one device."""
    layers: int
    query_heads: tuple[int, ...]
    """Per layer."""
    vocabulary: int
    max_positions: int | None
    _cache_argument: str

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def forward(self, tokens: torch.Tensor, cache: KvCache, what: Reading, last: int) -> torch.Tensor:
        """Logits of the last `last` tokens, [row, token, vocabulary].

        :param tokens: [row, token], in the slots after those that the cache holds.
        """
        start = cache.get_seq_length()
        arguments: dict[str, Any] = {
            "input_ids": tokens,
            "position_ids": what.positions(start, tokens.shape[1], self.device),
            self._cache_argument: cache,
            "use_cache": True,
            "logits_to_keep": last,
        }
        with attention.reading(what):
            logits: torch.Tensor = self.module(**arguments).logits
        return logits[:, -last:]

    def check_tokens(self, what: str, tokens: Sequence[int], more: int = 0) -> None:
        """Raises `WorkerError` (InvalidRequest) for ids outside the vocabulary and for too many tokens."""
        wrong = next((i for i, id in enumerate(tokens) if not 0 <= id < self.vocabulary), None)
        if wrong is not None:
            raise WorkerError(
                "InvalidRequest",
                f"{what}: token {wrong} has the id {tokens[wrong]}; the vocabulary has {self.vocabulary}",
            )
        length = len(tokens) + more
        if self.max_positions is not None and length > self.max_positions:
            raise WorkerError(
                "InvalidRequest",
                f"{what}: {length} tokens do not fit the model's {self.max_positions} positions; use a "
                "shorter length",
            )

    def check_plan(self, plan: Plan, what: str) -> None:
        """Raises `WorkerError` (InvalidRequest) for a plan of another model."""
        shape = [len(layer) for layer in plan.windows]
        if shape != list(self.query_heads):
            raise WorkerError(
                "InvalidRequest",
                f"{what} has windows for {len(shape)} layers of {sorted(set(shape))} query heads; "
                f"the model has {self.layers} of {sorted(set(self.query_heads))}",
            )
        if plan.block < 1 or plan.sink < 0 or any(w < 0 for layer in plan.windows for w in layer):
            raise WorkerError(
                "InvalidRequest", f"{what}: block must be positive; sink and windows not negative"
            )


def load(request: Load) -> Model:
    """Raises `WorkerError`: InvalidModel, Unsupported, OutOfMemory."""
    folder = Path(request.folder)
    cuda = request.device == "cuda" or (request.device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise WorkerError("Unsupported", "PyTorch sees no CUDA device; check the driver, or ask for the cpu")
    config = check_config(folder)
    size = check_weights(folder)
    # Without a GPU half precision is slow, and nothing is saved by it that matters there.
    dtype = DTYPES.get(request.dtype, "auto" if cuda else torch.float32)
    placement = place(size, _stored(config.dtype), dtype, _free()) if cuda else None
    module = _read(folder, dtype, placement)
    spread = getattr(module, "hf_device_map", None) if placement == "auto" else None
    device_map = {name: str(torch.device(d)) for name, d in spread.items()} if spread else None
    _check_spread(device_map, folder)
    module.eval()  # type: ignore[no-untyped-call]
    module.requires_grad_(False)
    _check_finite(module, folder)
    signature = inspect.signature(module.forward).parameters
    model = Model(
        module=module,
        folder=folder,
        device=next(module.get_input_embeddings().parameters()).device,
        dtype=module.dtype,
        device_map=device_map,
        layers=config.num_hidden_layers,
        query_heads=(),
        vocabulary=config.vocab_size,
        max_positions=getattr(config, "max_position_embeddings", None),
        # Its name changed in transformers 5.24.
        _cache_argument="cache" if "cache" in signature else "past_key_values",
    )
    return _probed(model)


def place(size: int, stored: torch.dtype | None, dtype: torch.dtype | str, free: Sequence[int]) -> Any:
    """transformers' `device_map`: the first GPU where the weights fit it, otherwise all.

    :param size: bytes of the weight files.
    :param free: bytes per GPU.
    """
    wanted = size
    if isinstance(dtype, torch.dtype) and stored is not None:
        wanted = size * dtype.itemsize // stored.itemsize
    return {"": 0} if len(free) == 1 or wanted <= SHARE * free[0] else "auto"


def _free() -> list[int]:
    return [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]


def _stored(dtype: object) -> torch.dtype | None:
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype, None)
    return dtype if isinstance(dtype, torch.dtype) else None


def _read(folder: Path, dtype: torch.dtype | str, placement: Any) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            device_map=placement,
            attn_implementation=attention.NAME,
            output_loading_info=True,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise WorkerError("InvalidModel", f"{folder} cannot be loaded: {error}") from error
    module, info = loaded
    # transformers fills what is missing with random numbers.
    for problem in ("missing_keys", "mismatched_keys"):
        if info[problem]:
            name = sorted(map(str, info[problem]))[0]
            raise WorkerError(
                "InvalidModel",
                f"{folder}: the weights lack tensor {name}, or have it in another shape ({problem})",
            )
    return cast(PreTrainedModel, module)


def _check_spread(device_map: dict[str, str] | None, folder: Path) -> None:
    outside = next(
        (name for name, device in (device_map or {}).items() if not device.startswith("cuda")), None
    )
    if outside is not None:
        raise WorkerError(
            "OutOfMemory", f"{folder}: {outside} does not fit the visible GPUs; use more or a smaller dtype"
        )


def _check_finite(module: PreTrainedModel, folder: Path) -> None:
    for name, parameter in module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise WorkerError(
                "InvalidModel", f"{folder}: {name} holds NaN or infinite numbers; fetch the weights again"
            )


@torch.inference_mode()
def _probed(model: Model) -> Model:
    """Sees that each layer attends through Tessera's attention once, and with how many query heads."""
    with attention.observed() as calls:
        try:
            model.forward(
                torch.zeros(1, 1, dtype=torch.long, device=model.device),
                KvCache(model.layers, 1),
                Reading(),
                1,
            )
        except (WorkerError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise WorkerError(
                "Unsupported", f"{model.folder}: {type(model.module).__name__} does not run here: {error}"
            ) from error
    if Counter(layer for layer, _ in calls) != Counter(range(model.layers)):
        raise WorkerError(
            "Unsupported",
            f"{model.folder}: {type(model.module).__name__} does not attend through transformers' attention "
            "interface in each layer",
        )
    heads = dict(calls)
    return replace(model, query_heads=tuple(heads[layer] for layer in range(model.layers)))
