"""FlexAttention with the plan's mask, to compare with: one mask per query head, whole tiles told apart."""

from collections.abc import Callable, Sequence

import torch
from tessera_kernels.constants import BLOCK, SINK
from timing import DEVICE
from torch.nn.attention.flex_attention import BlockMask, flex_attention

TILE = 128
# Each length, with and without bulk copies, is a compilation of its own.
torch._dynamo.config.recompile_limit = 64


class Flex:
    """FlexAttention compiled once per length: layers change what it is given, not its code."""

    def __init__(self, heads: int, length: int, bulk: bool):
        self.length = length
        self.windows = windows = torch.ones(heads, dtype=torch.int32, device=DEVICE)
        self.options = {"USE_TMA": True} if bulk else None
        self.compiled = torch.compile(flex_attention, dynamic=False)

        def keep(batch, head, q, k):
            return (k <= q) & ((k < SINK) | (k // BLOCK > q // BLOCK - windows[head]))

        self.keep = keep

    def call(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, windows: Sequence[int]
    ) -> Callable[[], torch.Tensor]:
        """Attention under these windows, in blocks per query head; until the next call of ``call``."""
        self.windows.copy_(torch.tensor(windows, dtype=torch.int32))
        mask = self.block_mask()
        return lambda: self.compiled(q, k, v, block_mask=mask, enable_gqa=True, kernel_options=self.options)

    def block_mask(self) -> BlockMask:
        tiles = -(-self.length // TILE)
        at = torch.arange(tiles, device=DEVICE) * TILE
        first, start = at[:, None], at[None, :]
        end, last = start + TILE, first + TILE - 1
        window = self.windows[:, None, None]
        near, left = ((t // BLOCK - window + 1).clamp(min=0) * BLOCK for t in (first, last))
        some = (start <= last) & ((start < SINK) | (end > near))
        whole = (end <= first + 1) & ((end <= SINK) | (start.clamp(min=SINK) >= left))
        return BlockMask.from_kv_blocks(
            *ordered(some & ~whole),
            *ordered(some & whole),
            BLOCK_SIZE=TILE,
            mask_mod=self.keep,
            seq_lengths=(self.length, self.length),
            compute_q_blocks=False,
        )


def ordered(tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many tiles of each row are set, and which: those first, ascending."""
    order = torch.argsort(tiles.int(), dim=-1, descending=True, stable=True)
    return tiles.sum(-1, dtype=torch.int32)[None], order.int()[None].contiguous()
