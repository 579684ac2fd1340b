"""python -m tessera_worker [--device auto|cpu|cuda]"""

from __future__ import annotations

import argparse
import os
import sys

from . import environment
from .channel import Channel


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tessera_worker", description="Tessera's PyTorch worker; see PROTOCOL.md."
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="cuda: fail without a GPU"
    )
    device = parser.parse_args().device
    # Models come from folders; nothing is fetched.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    channel = Channel()
    try:
        environment.check_packages()
        channel.send({"hello": environment.hello(device)})
    except environment.Fatal as fatal:
        channel.send({"fatal": {"reason": fatal.reason, "detail": fatal.detail}})
        sys.stderr.flush()
        os._exit(3)
    channel.start()
    # Imports PyTorch and transformers.
    from .server import Server

    Server(channel).run()


if __name__ == "__main__":
    main()
