"""Conversion of a .gguf file into a Hugging Face folder, through transformers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from .errors import WorkerError
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
    where = {"gguf_file": source.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=DTYPES[dtype], **where)
    except Exception as error:
        reason = "Unsupported" if "not supported" in str(error) else "InvalidModel"
        raise WorkerError(reason, f"{source} cannot be converted: {error}") from error  # type: ignore[arg-type]
    model.save_pretrained(folder, max_shard_size="1TB")
    tokenizer.save_pretrained(folder)
