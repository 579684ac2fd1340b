"""Conversion of a .gguf file into a Hugging Face folder, through transformers."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from .errors import Reason, WorkerError
from .models import DTYPES

MAGIC = b"GGUF"


def convert_gguf(file: str, folder: str, dtype: str) -> list[str]:
    """Writes `folder` whole or not at all; returns its files' names, sorted. Equal inputs give equal bytes.

    Raises `WorkerError`: InvalidRequest, InvalidModel, Unsupported.
    """
    source, target = Path(file), Path(folder)
    _check(source, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _write(source, draft, dtype)
        # What mkdtemp makes is for its owner alone.
        draft.chmod(0o755)
        if target.exists():
            target.rmdir()
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return sorted(path.name for path in target.iterdir())


def _check(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise WorkerError("InvalidModel", f"{source} cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise WorkerError("InvalidModel", f"{source} is no GGUF file (it begins with {magic!r})")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise WorkerError("InvalidRequest", f"{target} is there already; name a new or empty folder")


def _write(source: Path, folder: Path, dtype: str) -> None:
    where: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    # Newer versions of transformers may otherwise leave weights packed.
    packing = getattr(transformers, "GgufConfig", None)
    unpacked = {} if packing is None else {"quantization_config": packing(dequantize=True)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source.parent, dtype=DTYPES[dtype], **where, **unpacked
        )
    except Exception as error:
        reason: Reason = "Unsupported" if "not supported" in str(error) else "InvalidModel"
        raise WorkerError(reason, f"{source} cannot be converted: {error}") from error
    _plain(model).save_pretrained(folder, max_shard_size="1TB")
    tokenizer.save_pretrained(folder)


def _plain(model: Any) -> Any:
    """The same model, as if it had never been in a GGUF file: what came from one refuses to be saved."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain
