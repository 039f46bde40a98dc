"""Statistics of the multipath channels."""

import tracemalloc

import numpy as np
import pytest

from lrisc.errors import InputError
from lrisc.link.multipath import MODELS, Mobility, Realisation, draw
from lrisc.link.waveform.modulator import demodulate, modulate, to_grid
from lrisc.link.waveform.numerology import PRESETS

OFDM = PRESETS["ofdm"]


def test_a_single_path_delays_and_scales() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=500) + 1j * rng.normal(size=500)).astype(np.complex64)
    one = Realisation(np.array([3 / 2e6]), np.array([[0.5j]]), 1.0)
    y = one.apply(x, 2e6)
    assert np.allclose(y[3:], 0.5j * x[:-3], atol=1e-5)
    assert np.allclose(y[:3], 0, atol=1e-5)


def test_grid_is_what_the_fft_sees() -> None:
    gains = np.array([[0.7, 0.4j, -0.3]])
    paths = Realisation(np.array([0.0, 0.83e-6, 3.1e-6]), gains, 1.0)
    rng = np.random.default_rng(1)
    symbols = ((rng.normal(size=(4000, 2)) @ [1, 1j]) / np.sqrt(2)).astype(np.complex64)
    y = paths.apply(modulate(symbols, OFDM, None), OFDM.sample_rate)
    rows = np.arange(OFDM.ofdm_symbols(symbols.size))
    starts = OFDM.start_samples + OFDM.cyclic_prefix + rows * OFDM.symbol_samples
    ratio = np.abs(demodulate(y, starts, OFDM) - paths.on_grid(OFDM, rows) * to_grid(symbols, OFDM))
    assert 20 * np.log10(float(np.sqrt(np.mean(ratio**2)))) < -25


@pytest.mark.parametrize("model", ["rayleigh", "rician", "tdl-a", "tdl-d", "cdl-c"])
def test_mean_power_and_seeds(model: str) -> None:
    mobility = Mobility(300e-9, 30.0)
    power = [
        np.mean(np.abs(draw(model, mobility, 5e-3, seed).gains.sum(axis=1)) ** 2)
        for seed in range(60)
    ]
    assert np.mean(power) == pytest.approx(1, abs=0.35)
    assert np.std(power) > 0.05  # realisations are not normalised one by one
    first, again = draw(model, mobility, 5e-3, 7), draw(model, mobility, 5e-3, 7)
    assert np.array_equal(first.gains, again.gains)
    assert not np.array_equal(first.gains, draw(model, mobility, 5e-3, 8).gains)


def test_doppler_decorrelates_as_bessel_says() -> None:
    from scipy.special import j0

    mobility = Mobility(speed=30.0)
    lag = 0.2 / mobility.doppler
    products, powers = [], []
    for seed in range(400):
        gain = draw("rayleigh", mobility, 10e-3, seed).at(np.array([1e-3, 1e-3 + lag]))[:, 0]
        products.append(gain[1] * gain[0].conj())
        powers.append(abs(gain[0]) ** 2)
    correlation = np.mean(products) / np.mean(powers)
    assert correlation.real == pytest.approx(j0(2 * np.pi * 0.2), abs=0.12)


def test_delay_spread() -> None:
    for spread in (30e-9, 300e-9):
        one = draw("tdl-c", Mobility(spread, 0.0), 1e-3, 0)
        # TR 38.901, table 7.7.2-3: the last path of TDL-C arrives 8.65 delay spreads late.
        assert one.delays.max() == pytest.approx(8.6523 * spread, rel=0.01)


def test_every_model_and_refusals() -> None:
    for model in MODELS:
        assert draw(model, Mobility(), 1e-3, 0).gains.shape[1] >= 1
    with pytest.raises(InputError, match="tdl-a"):
        draw("tdl-z", Mobility(), 1e-3, 0)
    for wrong in ({"speed": -1.0}, {"delay_spread": float("nan")}, {"carrier_frequency": 0.0}):
        with pytest.raises(InputError):
            Mobility(**wrong)


def test_long_delays_take_no_more_memory_than_short_ones() -> None:
    samples = np.ones(100_000, np.complex64)
    one = Realisation(np.array([0.0, 2000 / 2e6]), np.array([[0.8, 0.6j]]), 1.0)
    tracemalloc.start()
    y = one.apply(samples, 2e6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400e6  # 2,025 taps for each of 65,536 samples alone are 2.1 GB
    assert y[50_000] == pytest.approx(0.8 + 0.6j, abs=0.02)


def test_what_cannot_be_served_is_refused_in_one_line() -> None:
    far = Realisation(np.array([0.0, 12e-3]), np.array([[0.8, 0.6j]]), 1.0)
    with pytest.raises(InputError, match=r"span 24,025 samples at 2e\+06 Hz.*delay spread"):
        far.apply(np.ones(100, np.complex64), 2e6)
    fast = Mobility(speed=1000.0, carrier_frequency=1e11)
    for model in ("rayleigh", "tdl-a"):
        with pytest.raises(InputError, match=r"Doppler.*lower speed"):
            draw(model, fast, 1.0, 0)
