"""Grid and samples."""

import numpy as np
import pytest
from tests.link.waveform.signals import OFDM, frame_symbols

from lrisc.errors import InputError
from lrisc.link.waveform.modulator import data_columns, demodulate, modulate, to_grid
from lrisc.link.waveform.numerology import PRESETS, Numerology, numerology


def windows(preset: Numerology, symbols: int) -> np.ndarray:
    rows = np.arange(preset.ofdm_symbols(symbols))
    return preset.start_samples + preset.cyclic_prefix + rows * preset.symbol_samples


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda p: p.name)
def test_round_trip_and_power(preset: Numerology) -> None:
    symbols = frame_symbols(10)
    samples = modulate(symbols, preset, None)
    assert samples.size == preset.samples(symbols.size)
    grid = demodulate(samples, windows(preset, symbols.size), preset)
    assert np.allclose(grid, to_grid(symbols, preset), atol=1e-5)
    back = np.take_along_axis(grid, data_columns(preset, np.arange(grid.shape[0])), 1)
    assert np.allclose(back.reshape(-1)[: symbols.size], symbols, atol=1e-5)
    # Unitary: unit elements on 208 of 256 carriers, so N0 a sample is N0 an element.
    mean = preset.occupied / preset.fft_size
    assert float(np.mean(np.abs(samples) ** 2)) == pytest.approx(mean, rel=0.02)


def test_noise_per_sample_is_noise_per_element() -> None:
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=100_000) + 1j * rng.normal(size=100_000)).astype(np.complex64)
    grid = demodulate(noise / np.sqrt(2, dtype=np.float32), np.arange(0, 99_000, 256), OFDM)
    assert float(np.mean(np.abs(grid) ** 2)) == pytest.approx(1, abs=0.02)


def test_comb_visits_every_carrier() -> None:
    rows = np.arange(OFDM.occupied // OFDM.comb)
    columns = OFDM.comb_columns(rows)
    assert sorted(columns.reshape(-1).tolist()) == list(range(OFDM.occupied))
    assert (OFDM.is_comb(rows).sum(axis=1) == OFDM.comb).all()


@pytest.mark.parametrize("length", [20_000, 20_600, 24_123, 40_000])
def test_a_patch_is_spread_over_time_and_carriers(length: int) -> None:
    # The frame puts symbol j of its body at j · step mod L; 16 of a patch follow one another.
    from lrisc.link.frame import interleaver

    place = np.argsort(interleaver(length).numpy())
    rows = place // OFDM.data_carriers
    columns = data_columns(OFDM, np.arange(OFDM.ofdm_symbols(length)))
    column = columns[rows, place % OFDM.data_carriers]
    for first in range(0, length - 16, 997):
        patch = slice(first, first + 16)
        assert len(set(rows[patch].tolist())) >= 14
        assert np.ptp(rows[patch]) > 0.7 * columns.shape[0]
        assert np.std(column[patch]) > 20  # uniform over 208: 60


def test_clip() -> None:
    symbols = frame_symbols(10)
    free, clipped = modulate(symbols, OFDM, None), modulate(symbols, OFDM, 6.0)
    mean = OFDM.occupied / OFDM.fft_size
    peak = 10 * np.log10(float((np.abs(clipped) ** 2).max()) / mean)
    assert peak == pytest.approx(6, abs=0.01)
    assert 10 * np.log10(float((np.abs(free) ** 2).max()) / mean) > 8
    grid = demodulate(clipped, windows(OFDM, symbols.size), OFDM)
    error = np.mean(np.abs(grid - to_grid(symbols, OFDM)) ** 2)
    assert -32 < 10 * np.log10(error) < -25
    for wrong in (2.9, float("nan"), float("inf")):
        with pytest.raises(InputError, match="clip"):
            modulate(symbols, OFDM, wrong)


def test_refusals() -> None:
    with pytest.raises(InputError, match="no symbols"):
        modulate(np.zeros(0, np.complex64), OFDM)
    with pytest.raises(InputError, match="ofdm-long"):
        numerology("lte")


def test_counts() -> None:
    n = OFDM.data_carriers + 1
    assert OFDM.ofdm_symbols(n) == 2
    assert OFDM.samples(n) == 992 + 2 * 272
    # Two OFDM symbols, two of training, and 448 samples of preamble at 208 carriers in 256.
    assert OFDM.elements(n) == 4 * 208 + 364
