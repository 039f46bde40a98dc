"""Everything estimated: what a recording loses against a channel that is known."""

import numpy as np
import pytest
from tests.link.waveform.signals import (
    GUARD,
    OFDM,
    effective_snr_db,
    frame_symbols,
    recorded,
    snr_of,
)

from lrisc.errors import InputError, OutageError
from lrisc.link.finding import receive_all
from lrisc.link.frame import parse_body
from lrisc.link.impairments import Impairments
from lrisc.link.multipath import Realisation
from lrisc.link.ofdm_receiver import Reception
from lrisc.link.waveform.modulator import data_columns, modulate
from lrisc.link.waveform.numerology import PRESETS, Numerology
from lrisc.link.waveform.source import ArraySource

EVERY = tuple(PRESETS.values())


def receptions(samples: np.ndarray) -> list[Reception]:
    found = [item for _, item in receive_all(ArraySource(samples), EVERY)]
    assert all(isinstance(item, Reception) for item in found), found
    return [item for item in found if isinstance(item, Reception)]


def on_symbols(paths: Realisation, count: int, preset: Numerology) -> np.ndarray:
    """What each of a frame's symbols is multiplied by."""
    rows = np.arange(preset.ofdm_symbols(count))
    grid = np.take_along_axis(paths.on_grid(preset, rows), data_columns(preset, rows), 1)
    return grid.reshape(-1)[:count]


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_awgn_with_every_offset(snr_db: float) -> None:
    symbols = frame_symbols(snr_db)
    offsets = Impairments(timing=3.37, sro=-25.0, cfo=-21_234.5)
    (one,) = receptions(recorded(symbols, snr_db, impairments=offsets))
    assert abs(one.detection.start - GUARD - 3.37) < 1
    assert one.cfo * OFDM.sample_rate == pytest.approx(-21_234.5, abs=10)
    assert one.clock_ppm == pytest.approx(-25, abs=20 if snr_db < 20 else 5)
    assert one.snr_db == pytest.approx(snr_db, abs=0.6)
    assert effective_snr_db(symbols, one.received.equalised()) > snr_db - 0.25
    assert one.outage is None
    bits, _ = parse_body(one.received, one.header)
    assert bits.size == 800
    assert one.received.noise_variance == 1
    assert one.received.symbols.numel() == symbols.size


@pytest.mark.slow
@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_every_preset_with_its_delay_spread(preset: Numerology) -> None:
    # Three paths over most of the prefix.
    spread = preset.cyclic_prefix / preset.sample_rate
    gains = np.array([[0.8, 0.5j, -0.33]], complex)
    paths = Realisation(np.array([0, 0.31, 0.77]) * spread, gains, 1.0)
    symbols = frame_symbols(10)
    (one,) = receptions(recorded(symbols, 15, preset, multipath=paths))
    h = on_symbols(paths, symbols.size, preset)
    best = snr_of(float(np.mean(1 / (1 + np.abs(h) ** 2 * 10**1.5))))
    assert effective_snr_db(symbols, one.received.equalised()) > best - 0.3
    # Per symbol, what is claimed follows what is true.
    claimed = one.received.snr_db().numpy()
    truth = 15 + 20 * np.log10(np.abs(h))
    strong = truth > 5
    assert np.abs(claimed - truth)[strong].mean() < 0.6


@pytest.mark.slow
def test_a_moving_receiver() -> None:
    # Two paths with Doppler shifts of ±97 Hz, as at 8.3 m/s and 3.5 GHz.
    rate, steps = 8000.0, 400
    t = np.arange(steps) / rate
    gains = np.stack([0.8 * np.exp(194j * np.pi * t), 0.6 * np.exp(-194j * np.pi * t)], axis=1)
    paths = Realisation(np.array([0.0, 1.1e-6]), gains, rate)
    symbols = frame_symbols(10, 20_000, 2000)
    (one,) = receptions(recorded(symbols, 20, multipath=paths))
    h = on_symbols(paths, symbols.size, OFDM)
    best = snr_of(float(np.mean(1 / (1 + np.abs(h) ** 2 * 100))))
    reached = effective_snr_db(symbols, one.received.equalised())
    assert reached > best - 1.0
    claimed = float((1 / (1 + one.received.snr_linear())).mean())
    assert snr_of(claimed) == pytest.approx(reached, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("impairments", "least"),
    [
        (Impairments(phase_noise=3.0), 16.0),
        (Impairments(dc=0.0, cfo=7812.5), 18.5),
        (Impairments(dc=0.0, cfo=-13_000.0), 18.5),
        (Impairments(adc_bits=6), 18.0),
        (Impairments(iq_imbalance=(1.0, 5.0)), 17.0),
        (Impairments(pa=8.0), 18.0),
        (Impairments(sro=60.0), 19.5),
    ],
    ids=["phase-noise", "dc-on-a-carrier", "dc-between", "adc", "iq", "pa", "sro"],
)
def test_impairments_at_20_db(impairments: Impairments, least: float) -> None:
    symbols = frame_symbols(10, 12_000, 800)
    (one,) = receptions(recorded(symbols, 20, impairments=impairments))
    reached = effective_snr_db(symbols, one.received.equalised())
    assert reached > least
    # The receiver knows how bad it is.
    claimed = float((1 / (1 + one.received.snr_linear())).mean())
    assert snr_of(claimed) == pytest.approx(reached, abs=1.5)


def test_long_frames_are_done_in_blocks() -> None:
    symbols = frame_symbols(10, 60_000, 2000)
    offsets = Impairments(sro=60.0, cfo=5000.0)
    (one,) = receptions(recorded(symbols, 10, impairments=offsets))
    assert OFDM.ofdm_symbols(symbols.size) > 2 * 128
    assert effective_snr_db(symbols, one.received.equalised()) > 9.85


def test_several_frames_and_what_lies_between() -> None:
    parts = [recorded(frame_symbols(10, 3000, 100, seed), 12, seed=seed) for seed in range(3)]
    found = receptions(np.concatenate(parts))
    starts = np.cumsum([0, *(part.size for part in parts[:-1])]) + GUARD
    assert [one.detection.start for one in found] == starts.tolist()
    for seed, one in enumerate(found):
        symbols = frame_symbols(10, 3000, 100, seed)
        assert effective_snr_db(symbols, one.received.equalised()) > 11.7


def test_a_frame_that_fills_the_recording() -> None:
    symbols = frame_symbols(10)
    (one,) = receptions(modulate(symbols, OFDM, None))
    assert one.detection.start == 0
    assert effective_snr_db(symbols, one.received.equalised()) > 30


def test_outages_and_cut_recordings() -> None:
    samples = recorded(frame_symbols(20, 6000, 800), 6)
    (one,) = receptions(samples)
    assert one.outage is not None
    assert "rate map" in one.outage
    with pytest.raises(OutageError):
        parse_body(one.received, one.header)

    ((detection, error),) = receive_all(ArraySource(samples[:8000]), EVERY)
    assert isinstance(error, InputError)
    assert "cut short" in str(error)
    assert detection.start == GUARD

    broken = samples.copy()
    first = GUARD + OFDM.start_samples
    broken[first : first + 2 * OFDM.symbol_samples] = 0
    ((_, error),) = receive_all(ArraySource(broken), EVERY)
    assert isinstance(error, OutageError)
    assert "header" in str(error)


@pytest.mark.slow
def test_clipped_recordings_still_decode() -> None:
    # An overdriven converter: everything beyond the mean amplitude is cut off.
    symbols = frame_symbols(0)
    samples = recorded(symbols, 15)
    limit = np.float32(0.9)
    samples = np.clip(samples.real, -limit, limit) + 1j * np.clip(samples.imag, -limit, limit)
    (one,) = receptions(samples.astype(np.complex64))
    assert effective_snr_db(symbols, one.received.equalised()) > 10


def test_the_scale_of_a_recording_does_not_matter() -> None:
    symbols = frame_symbols(10)
    samples = recorded(symbols, 10)
    for scale in (1e-6, 1e4):
        (one,) = receptions((samples * scale).astype(np.complex64))
        assert effective_snr_db(symbols, one.received.equalised()) > 9.8
