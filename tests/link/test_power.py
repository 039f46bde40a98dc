"""How power is shared among embeddings."""

import torch

from lrisc.link.power import embedding_power


def test_twice_the_symbols_get_twice_the_power_and_the_mean_stays() -> None:
    counts = torch.tensor([[4, 8, 0, 16], [6, 6, 6, 6], [0, 0, 0, 0]])
    power = embedding_power(counts)
    assert power.dtype == torch.float32
    assert power[0, 1] == 2 * power[0, 0]
    assert power[0, 2] == 0
    assert (power * counts).sum(1).allclose(counts.sum(1).float())
    assert power[1].allclose(torch.ones(4))
    assert power[2].tolist() == [0, 0, 0, 0]
