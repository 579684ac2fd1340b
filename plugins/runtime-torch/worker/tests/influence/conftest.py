import os
import sys
from pathlib import Path

# Before Triton is imported: its kernels run on the CPU.
os.environ["TRITON_INTERPRET"] = "1"
sys.path.append(str(Path(__file__).parents[2] / "bench"))

import torch

# Sizes are tiny: threads would only wait for each other.
torch.set_num_threads(1)
