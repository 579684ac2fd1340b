from __future__ import annotations

import torch

from tessera_worker.influence.sums import Sums, window_sums


def test_a_window_drops_what_is_further_than_it_and_not_in_the_sink() -> None:
    generator = torch.Generator().manual_seed(0)
    for blocks, block, sink in ((1, 16, 0), (5, 16, 0), (5, 16, 16), (6, 16, 20), (4, 16, 64)):
        sums = torch.rand((3, blocks, blocks), generator=generator).tril()
        got = window_sums(sums, block, sink)
        assert got.shape == (3, blocks + 1)
        for w in range(blocks + 1):
            dropped = [
                sums[:, q, k]
                for q in range(blocks)
                for k in range(blocks)
                if k * block >= sink and q - k >= w
            ]
            want = torch.stack(dropped).sum(0) if dropped else torch.zeros(3)
            torch.testing.assert_close(got[:, w], want)


def test_items_of_several_lengths_add_up_from_the_first_block_on() -> None:
    sums = Sums(block=4, sum="abs", keep="blocks", sink=0, cancelled=lambda: False)
    for n in (6, 12, 3):
        x = torch.randn((1, n, 8), generator=torch.Generator().manual_seed(n))
        lse = torch.logsumexp(
            (x @ x.mT).masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf), -1
        )
        sums.collect(0, x, x, x, x, lse, 1.0)
        sums.add_item()
    (got,) = sums.take()
    assert got.shape == (1, 3, 3)
    assert sums.take() == []
