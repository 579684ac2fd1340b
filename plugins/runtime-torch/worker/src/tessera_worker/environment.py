"""What the worker runs with: checked before anything heavy is imported, and told in the first line."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from dataclasses import dataclass
from typing import Literal

from . import __version__
from .protocol import PROTOCOL

FatalReason = Literal["MissingPackage", "WrongVersion", "NoDevice"]

# From which version each works: transformers' attention interface as used here, PyTorch's FlexAttention.
REQUIRED = {
    "torch": (2, 5),
    "transformers": (5, 17),
    "accelerate": (1, 0),
    "numpy": (1, 26),
    "pyarrow": (15, 0),
    "safetensors": (0, 4),
}


@dataclass(frozen=True)
class Fatal(Exception):
    """The worker cannot start."""

    reason: FatalReason
    detail: str


def check_packages() -> None:
    """Raises `Fatal`, without importing any of them."""
    for name, least in REQUIRED.items():
        found = _version(name)
        wanted = ".".join(map(str, least))
        if found is None:
            raise Fatal("MissingPackage", f"{name} is missing from {sys.prefix}; install {name}>={wanted}")
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < least:
            raise Fatal("WrongVersion", f"{name} is {found}; install {name}>={wanted} in {sys.prefix}")


def hello(device: str) -> dict[str, object]:
    """The first line's facts. Raises `Fatal`.

    :param device: `cuda`: fail where there is no GPU.
    """
    try:
        import torch
        import transformers
    except Exception as error:
        # An environment can hold them and still lack, say, a library of CUDA's.
        raise Fatal("MissingPackage", f"torch or transformers cannot be imported: {error}") from error
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and gpus == 0:
        raise Fatal(
            "NoDevice",
            f"PyTorch {torch.__version__} sees no CUDA device; check the driver and CUDA_VISIBLE_DEVICES, "
            "or run on the CPU",
        )
    devices = [torch.cuda.get_device_properties(i) for i in range(gpus)]
    capabilities = ["generate", "score"]
    if importlib.util.find_spec("tessera_worker.influence") is not None:
        capabilities.append("influence")
    if _version("gguf") is not None:
        capabilities.append("gguf")
    return {
        "protocol": PROTOCOL,
        "worker": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "triton": _version("triton"),
        "devices": [
            {"name": d.name, "capability": f"{d.major}.{d.minor}", "memory": d.total_memory} for d in devices
        ],
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()) if gpus else None,  # type: ignore[no-untyped-call]
        "capabilities": capabilities,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
