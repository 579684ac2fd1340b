"""FlexAttention masks of one plan of sparse attention: see README.md."""

from . import constants
from .attention import attention
from .masks import block_mask, layer_windows, length_class, mask_mod

__all__ = ["attention", "block_mask", "constants", "layer_windows", "length_class", "mask_mod"]
