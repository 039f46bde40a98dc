"""The coded link: lengths, thresholds, outages."""

import itertools
import math

import numpy as np
import pytest
import torch

from lrisc.baselines.bpg.block_errors import count_errors
from lrisc.errors import InputError, OutageError
from lrisc.link import fec
from lrisc.link.channels import Received, channel

SCHEMES = [pytest.param(mcs, id=f"{mcs.bits_per_symbol}b-{mcs.rate}") for mcs in fec.MCS_TABLE]


def random_bits(n: int, seed: int = 0) -> fec.Bits:
    return np.random.default_rng(seed).integers(0, 2, n).astype(np.uint8)


def decode(received: Received, n: int, mcs: fec.Mcs) -> fec.Bits:
    return fec.decode(received.symbols, received.gains, received.noise_variance, n, mcs)


@pytest.mark.slow
@pytest.mark.parametrize("mcs", SCHEMES)
def test_threshold_carries_blocks(mcs: fec.Mcs) -> None:
    for n_bits, blocks in ((100, 100), (400, 30)):
        snr_db = mcs.threshold_db(n_bits)
        if math.isinf(snr_db):
            continue
        sent, lost = count_errors(mcs, "awgn", snr_db, blocks, seed=mcs.index, block_bits=n_bits)
        assert sent == blocks
        assert lost <= blocks // 100


@pytest.mark.slow
@pytest.mark.parametrize("mcs", SCHEMES)
def test_round_trip_at_threshold(mcs: fec.Mcs) -> None:
    bits = random_bits(2000)
    symbols = fec.encode(bits, mcs)
    assert symbols.dtype == torch.complex64
    received = channel("awgn", mcs.threshold_db(2000), seed=mcs.index)(symbols)
    assert np.array_equal(decode(received, 2000, mcs), bits)


@pytest.mark.parametrize("mcs", SCHEMES)
def test_outage_far_below_threshold(mcs: fec.Mcs) -> None:
    received = channel("awgn", mcs.min_snr_db - 5)(fec.encode(random_bits(400), mcs))
    with pytest.raises(OutageError):
        decode(received, 400, mcs)


@pytest.mark.slow
@pytest.mark.parametrize("mcs", SCHEMES)
def test_any_length(mcs: fec.Mcs) -> None:
    for n in (1, 2, 7, 37, 120, 269, 301, 1999):
        bits = random_bits(n, n)
        symbols = fec.encode(bits, mcs)
        assert symbols.numel() == fec.symbol_count(n, mcs)
        assert np.array_equal(decode(channel("awgn", 30)(symbols), n, mcs), bits)


def test_no_bits_take_no_symbols() -> None:
    none = fec.encode(random_bits(0), fec.MCS_TABLE[3])
    assert none.numel() == fec.symbol_count(0, fec.MCS_TABLE[3]) == 0
    assert fec.decode(none, none, 1.0, 0, fec.MCS_TABLE[3]).size == 0


@pytest.mark.slow
def test_long_messages_are_segmented() -> None:
    mcs, bits = fec.MCS_TABLE[5], random_bits(20_001)
    symbols = fec.encode(bits, mcs)
    assert symbols.numel() == fec.symbol_count(bits.size, mcs)
    assert float(symbols.abs().square().mean()) == pytest.approx(1.0, rel=0.02)
    assert np.array_equal(decode(channel("awgn", 11)(symbols), bits.size, mcs), bits)
    symbols[:400] = 0
    with pytest.raises(OutageError):
        decode(channel("awgn", 11)(symbols), bits.size, mcs)


def test_fading_is_weighted_by_its_own_noise() -> None:
    # a quarter of the block is lost in a fade; a decoder that trusted it equally would fail
    mcs, bits = fec.MCS_TABLE[1], random_bits(400)
    symbols = fec.encode(bits, mcs)
    gains = torch.ones_like(symbols)
    gains[:150] = 0.01j
    noisy = channel("awgn", 8)(gains * symbols)
    assert np.array_equal(decode(Received(noisy.symbols, gains, 10**-0.8), 400, mcs), bits)


def test_a_dead_channel_is_an_outage() -> None:
    mcs = fec.MOST_ROBUST
    silence = torch.zeros(fec.symbol_count(100, mcs), dtype=torch.complex64)
    with pytest.raises(OutageError):
        fec.decode(silence, torch.ones_like(silence), 1.0, 100, mcs)


def test_wrong_length_is_refused() -> None:
    symbols = torch.ones(10, dtype=torch.complex64)
    with pytest.raises(InputError):
        fec.decode(symbols, symbols, 1.0, 100, fec.MOST_ROBUST)


def test_schemes_of_former_frames_keep_their_indices() -> None:
    former = [(2, 1, 5), (2, 1, 3), (2, 1, 2), (2, 2, 3), (4, 1, 2), (4, 2, 3), (4, 3, 4),
              (6, 2, 3), (6, 3, 4)]  # fmt: skip
    assert [(mcs.bits_per_symbol, *mcs.rate) for mcs in fec.MCS_TABLE[:9]] == former


@pytest.mark.parametrize("n_bits", [fec.SHORT_BITS, 1000, fec.LONG_BITS])
def test_more_bits_per_symbol_need_a_higher_snr(n_bits: int) -> None:
    by_efficiency = sorted(fec.MCS_TABLE, key=lambda mcs: mcs.efficiency)
    thresholds = [mcs.threshold_db(n_bits) for mcs in by_efficiency]
    assert all(low < high for low, high in itertools.pairwise(thresholds))


# What nine schemes took. With the margin of fading, -2 and 3 dB stand for 10 and 15 dB.
@pytest.mark.parametrize(
    ("snr_db", "n_bits", "symbols"),
    [(-2, 1000, 2560), (-2, 2400, 6060), (0, 2400, 3636), (3, 1000, 1024), (10, 1000, 512)],
)
def test_a_rate_map_takes_fewer_symbols_than_with_nine_schemes(
    snr_db: float, n_bits: int, symbols: int
) -> None:
    assert fec.symbol_count(n_bits, fec.mcs_for(snr_db, n_bits)) < 0.95 * symbols


def test_choice_of_scheme() -> None:
    assert fec.mcs_for(-30) is fec.MOST_ROBUST
    chosen = [fec.mcs_for(snr).efficiency for snr in range(-10, 40)]
    assert chosen == sorted(chosen)
    assert fec.mcs_for(10).bits_per_symbol == 4
    for snr in range(0, 25):
        assert fec.mcs_for(snr, 100).efficiency <= fec.mcs_for(snr).efficiency
    for mcs in fec.MCS_TABLE:
        assert mcs.threshold_db(fec.SHORT_BITS) == pytest.approx(mcs.short_snr_db)
        assert mcs.threshold_db(fec.LONG_BITS) == pytest.approx(mcs.min_snr_db)
        assert mcs.threshold_db(40_000) == pytest.approx(mcs.min_snr_db)
        assert mcs is fec.MCS_TABLE[mcs.index]
