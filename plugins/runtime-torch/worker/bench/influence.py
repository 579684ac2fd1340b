"""Runs the benchmarks of influence: `python bench/influence.py`, about six minutes on an H100."""

import sys
from pathlib import Path

if __name__ == "__main__":
    worker = Path(__file__).parents[1]
    # In place of this folder, whose modules are a package's.
    sys.path[:1] = [str(worker), str(worker / "src")]
    from bench.main import main

    main()
