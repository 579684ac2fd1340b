"""Without a GPU the kernels run in Triton's interpreter, which must be chosen before they are imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    # The interpreter runs on one core; torch's threads would wait beside it.
    torch.set_num_threads(1)
