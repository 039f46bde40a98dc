"""Slots and packed symbols."""

import pytest
import torch

from lrisc.errors import InputError
from lrisc.link.packing import effective_snr_db, embedding_power


def test_twice_the_symbols_get_twice_the_power_and_the_mean_stays() -> None:
    counts = torch.tensor([[4, 8, 0, 16], [6, 6, 6, 6], [0, 0, 0, 0]])
    power = embedding_power(counts)
    assert power.dtype == torch.float32
    assert power[0, 1] == 2 * power[0, 0]
    assert power[0, 2] == 0
    assert (power * counts).sum(1).allclose(counts.sum(1).float())
    assert power[1].allclose(torch.ones(4))
    assert power[2].tolist() == [0, 0, 0, 0]


def test_effective_snr_per_embedding() -> None:
    snr = torch.tensor([1.0, 3.0, 10.0, 10.0, 10.0, 100.0])
    result = effective_snr_db(snr, torch.tensor([2, 0, 3, 1]))
    expected = [2.0, float(snr.mean()), 10.0, 100.0]
    assert torch.allclose(result, 10 * torch.log10(torch.tensor(expected)), atol=1e-4)
    assert effective_snr_db(torch.zeros(0), torch.tensor([0, 0])).tolist() == [0.0, 0.0]
    with pytest.raises(InputError):
        effective_snr_db(snr, torch.tensor([1, 2]))
