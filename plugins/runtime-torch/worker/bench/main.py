# mypy: allow-untyped-calls
"""What influence costs and how exact it is, on a CUDA GPU.

Sections: accuracy, kernel, model, official; and tune (tile shapes), only when asked for. Figures also go to a
JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from .accuracy import accuracy
from .kernels import kernel, tune
from .profiles import model, official_way
from .table import Row, table
from .timing import K, clean

SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "accuracy": accuracy,
    "kernel": kernel,
    "model": model,
    "official": official_way,
    "tune": tune,
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=[n for n in SECTIONS if n != "tune"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[n * K for n in (2, 4, 8, 16, 32, 64)])
    parser.add_argument("--quick", action="store_true", help="up to 8k only")
    parser.add_argument("--keep", choices=["blocks", "windows"], default="blocks")
    parser.add_argument("--head-dim", type=int, default=128, help="of `tune`")
    parser.add_argument("--json", type=Path, help="default: influence.json in the folder $OUT, if set")
    options = parser.parse_args()
    if options.quick:
        options.sizes = [n for n in options.sizes if n <= 8 * K]
    if options.json is None and "OUT" in os.environ:
        options.json = Path(os.environ["OUT"]) / "influence.json"
    return options


def main() -> None:
    options = parsed()
    device = torch.cuda.get_device_properties(0)
    cudnn = torch.backends.cudnn.version()
    print(f"{device.name}, torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}")
    failed = False
    results: dict[str, Any] = {"device": device.name, "torch": torch.__version__}
    for name in options.only:
        start = time.perf_counter()
        print(f"\n## {name}\n\n{SECTIONS[name].__doc__}\n")
        try:
            results[name] = table(SECTIONS[name](options))
        except Exception:
            # The other sections' figures are worth having all the same.
            traceback.print_exc()
            failed = True
        clean()
        print(f"\n({time.perf_counter() - start:.0f} s)")
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=1))
    sys.exit(failed)
