"""Physics of the channels: power, SNR, fades, independence."""

import math

import pytest
import torch

from lrisc.errors import InputError
from lrisc.link.channels import (
    Received,
    awgn,
    channel,
    mmse,
    noise_variance,
    rayleigh_gains,
)


def qpsk(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1.0
    return torch.view_as_complex(signs) / math.sqrt(2)


@pytest.mark.parametrize("name", ["awgn", "rayleigh"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0])
def test_effective_snr(name: str, snr_db: float) -> None:
    sent = qpsk(1_000_000)
    received = channel(name, snr_db, block_length=1, seed=3)(sent)
    noise = received.symbols - received.gains * sent
    signal = (received.gains * sent).abs().square().mean()
    measured = 10 * torch.log10(signal / noise.abs().square().mean())
    assert abs(float(measured) - snr_db) < 0.05
    assert abs(float(10 * torch.log10(received.snr_linear().mean())) - snr_db) < 0.05
    assert received.noise_variance == pytest.approx(noise_variance(snr_db))


def test_noise_is_circular() -> None:
    noise = awgn(torch.zeros(400_000, dtype=torch.complex64), 0.0, torch.Generator().manual_seed(1))
    assert float(noise.real.var()) == pytest.approx(0.5, rel=0.01)
    assert float(noise.imag.var()) == pytest.approx(0.5, rel=0.01)
    assert abs(float((noise.real * noise.imag).mean())) < 0.003


@pytest.mark.parametrize("block", [101, 10**13, 10**20])
def test_a_block_longer_than_the_frame_is_one_fade(block: int) -> None:
    sent = torch.ones(100, dtype=torch.complex64)
    fades = [channel("rayleigh", 10, block_length=b, seed=1)(sent).gains for b in (0, block)]
    assert torch.equal(*fades)


def test_rayleigh_blocks_and_power() -> None:
    gains = rayleigh_gains(1000, 256, torch.Generator().manual_seed(0), batch=(5,))
    assert gains.shape == (5, 1000)
    assert gains.dtype == torch.complex64
    for start in range(0, 1000, 256):
        assert (gains[:, start : start + 256] == gains[:, start : start + 1]).all()
    assert len(torch.unique(gains.abs())) == 20
    assert len(torch.unique(rayleigh_gains(1000, 0, torch.Generator().manual_seed(0)).abs())) == 1
    power = rayleigh_gains(500_000, 1, torch.Generator().manual_seed(0)).abs().square()
    assert float(power.mean()) == pytest.approx(1.0, rel=0.01)
    # |h|^2 is exponential: its variance is 1, and P(|h|^2 < 0.1) = 1 - exp(-0.1)
    assert float(power.var()) == pytest.approx(1.0, rel=0.03)
    assert float((power < 0.1).float().mean()) == pytest.approx(1 - math.exp(-0.1), abs=0.002)


def test_batch_elements_have_their_own_noise() -> None:
    batch = torch.zeros(4, 5000, dtype=torch.complex64)
    noise = awgn(batch, 0.0, torch.Generator().manual_seed(0))
    correlation = (noise @ noise.conj().T).abs() / 5000
    assert float((correlation - torch.eye(4)).abs().max()) < 0.06


def test_one_snr_per_image() -> None:
    snr = torch.tensor([[0.0], [10.0], [20.0]])
    noise = awgn(torch.zeros(3, 100_000, dtype=torch.complex64), snr)
    power = noise.abs().square().mean(dim=1)
    assert torch.allclose(-10 * torch.log10(power), snr[:, 0], atol=0.06)
    assert noise_variance(snr).shape == snr.shape


def test_gradients_pass_through() -> None:
    symbols = qpsk(64).requires_grad_()
    gains = rayleigh_gains(64, 8, torch.Generator().manual_seed(0))
    y = awgn(gains * symbols, 10.0)
    mmse(y, gains, noise_variance(10.0)).abs().square().sum().backward()
    assert symbols.grad is not None
    assert bool((symbols.grad.abs() > 0).all())


def test_mmse_beats_zero_forcing() -> None:
    sent = qpsk(100_000)
    received = channel("rayleigh", 3.0, block_length=1)(sent)
    error = (received.equalised() - sent).abs().square().mean()
    expected = (1 / (1 + received.snr_linear())).mean()
    assert float(error) == pytest.approx(float(expected), rel=0.02)


def test_seed_repeats_and_changes_noise() -> None:
    sent = qpsk(100)
    first, again = channel("rayleigh", 5, seed=1)(sent), channel("rayleigh", 5, seed=1)(sent)
    other = channel("rayleigh", 5, seed=2)(sent)
    assert torch.equal(first.symbols, again.symbols)
    assert torch.equal(first.gains, again.gains)
    assert not torch.equal(first.symbols, other.symbols)


def test_channel_takes_anything_with_symbols() -> None:
    sent = qpsk(100)
    carrier = Received(sent, torch.ones_like(sent), 1.0)
    assert torch.equal(channel("awgn", 5)(carrier).symbols, channel("awgn", 5)(sent).symbols)


@pytest.mark.parametrize(
    ("name", "snr_db", "block"),
    [("fog", 10, 1), ("awgn", math.nan, 1), ("awgn", math.inf, 1), ("rayleigh", 10, -1)],
)
def test_bad_channels(name: str, snr_db: float, block: int) -> None:
    with pytest.raises(InputError):
        channel(name, snr_db, block_length=block)
