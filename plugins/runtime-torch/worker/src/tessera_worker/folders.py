"""Checks of a Hugging Face folder before its weights are read: what would be computed wrongly is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PretrainedConfig

from .errors import WorkerError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def check_config(folder: Path) -> PretrainedConfig:
    """The folder's config. Raises `WorkerError`: InvalidModel, or Unsupported with the reason."""
    if not folder.is_dir():
        raise WorkerError(
            "InvalidModel", f"{folder} is no folder; give the path of a Hugging Face model folder"
        )
    json_config = read_json(folder / "config.json")
    kind = json_config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise WorkerError(
            "Unsupported",
            f"{folder / 'config.json'}: model_type {kind!r} is unknown to transformers; code from a "
            "model's folder is never run",
        )
    if json_config.get("quantization_config") is not None:
        raise WorkerError(
            "Unsupported",
            f"{folder}: the weights are quantised (quantization_config); use the unquantised bf16, f16 or "
            "f32 model",
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise WorkerError("InvalidModel", f"{folder / 'config.json'} cannot be used: {error}") from error
    if getattr(config, "is_encoder_decoder", False):
        raise WorkerError(
            "Unsupported", f"{folder}: {kind} is an encoder-decoder; only decoders are supported"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise WorkerError("Unsupported", f"{folder}: {kind} is no causal language model")
    text: PretrainedConfig = config.get_text_config(decoder=True)
    reason = _not_full(text)
    if reason is not None:
        raise WorkerError(
            "Unsupported", f"{folder}: {reason}; only full attention in every layer is supported"
        )
    return text


def _not_full(config: PretrainedConfig) -> str | None:
    """Why not every layer is full attention."""
    positions = getattr(config, "max_position_embeddings", None) or 0
    kinds = sorted({kind for kind in getattr(config, "layer_types", None) or [] if kind != "full_attention"})
    window = getattr(config, "sliding_window", None)
    # Qwen2 states a window that only `use_sliding_window` turns on. One as long as all positions drops none.
    active = window is not None and getattr(config, "use_sliding_window", True) and window < positions
    if kinds and (kinds != ["sliding_attention"] or active):
        return f"the model has {', '.join(kinds)} layers"
    if active and not getattr(config, "layer_types", None):
        return f"the model has sliding-window layers (sliding_window {window})"
    if getattr(config, "attention_chunk_size", None) is not None:
        return f"the model attends in chunks (attention_chunk_size {config.attention_chunk_size})"
    return None


def check_weights(folder: Path) -> int:
    """Checks that all weight files are there and whole; returns their bytes. Raises `WorkerError`."""
    files = _weight_files(folder)
    for file in files:
        if not file.is_file():
            raise WorkerError("InvalidModel", f"{file} is missing, though {INDEX} names it; fetch this file")
        try:
            with safe_open(file, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, OSError, struct.error) as error:
            raise WorkerError(
                "InvalidModel", f"{file} is damaged or incomplete ({error}); fetch it again"
            ) from error
    return sum(file.stat().st_size for file in files)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        names = read_json(folder / INDEX).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise WorkerError("InvalidModel", f"{folder / INDEX} has no weight_map; fetch it again")
        wrong = next((n for n in names.values() if not isinstance(n, str) or Path(n).name != n), None)
        if wrong is not None:
            raise WorkerError(
                "InvalidModel", f"{folder / INDEX}: {wrong!r} must be a file of the same folder"
            )
        return [folder / name for name in sorted(set(names.values()))]
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickles:
        raise WorkerError(
            "Unsupported",
            f"{folder}: the weights are pickle files ({pickles[0]}), which can run code; save the model as "
            "safetensors",
        )
    raise WorkerError(
        "InvalidModel", f"{folder} has neither {SINGLE} nor {INDEX}; save the model with save_pretrained"
    )


def read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise WorkerError("InvalidModel", f"{file} is missing; a model folder needs it") from None
    except (OSError, ValueError) as error:
        raise WorkerError("InvalidModel", f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise WorkerError("InvalidModel", f"{file} is no JSON object")
    return value
