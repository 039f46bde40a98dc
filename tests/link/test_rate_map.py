"""Lossless coding of rate maps."""

import time

import numpy as np
import numpy.typing as npt
import pytest

from lrisc.errors import InputError, OutageError
from lrisc.link.rate_map import TOTAL, RateMapPrior

LEVELS = 16


def random_map(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.int64]:
    """A map of random mean, contrast and smoothness, from constant to white."""
    field = rng.normal(size=(height, width))
    for _ in range(int(rng.integers(0, 6))):
        padded = np.pad(field, 1, mode="edge")
        field = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    field = field / max(float(field.std()), 1e-6)
    level = rng.uniform(0, LEVELS) + rng.uniform(0, 6) * field
    return np.clip(np.round(level), 0, LEVELS - 1).astype(np.int64)


@pytest.mark.slow
def test_a_thousand_random_maps() -> None:
    rng = np.random.default_rng(0)
    prior = RateMapPrior.fit([random_map(rng, 24, 24) for _ in range(50)], LEVELS)
    for i in range(1000):
        height, width = (int(n) for n in rng.integers(1, 40, 2))
        rate_map = random_map(rng, height, width)
        used = prior if i % 2 else RateMapPrior.default(LEVELS)
        bits = used.encode(rate_map)
        assert np.array_equal(used.decode(bits, height, width), rate_map)
        # the range coder's own loss is below 1e-3, and closing it costs at most two bits
        assert bits.size <= 1.001 * used.cost_bits(rate_map) + 2


def test_fitting_pays() -> None:
    rng = np.random.default_rng(1)
    maps = [random_map(rng, 32, 48) for _ in range(80)]
    fitted, default = RateMapPrior.fit(maps[:60], LEVELS), RateMapPrior.default(LEVELS)
    cost = {prior: sum(prior.cost_bits(m) for m in maps[60:]) for prior in (fitted, default)}
    assert cost[fitted] < cost[default]


def test_smooth_maps_are_cheap() -> None:
    ramp = np.add.outer(np.arange(32) // 8, np.arange(48) // 8)
    prior = RateMapPrior.default(LEVELS)
    assert prior.encode(ramp).size < 1.3 * ramp.size
    assert prior.encode(np.full((4, 4), 7)).size < 24


def test_table_is_the_whole_state() -> None:
    rng = np.random.default_rng(2)
    prior = RateMapPrior.fit([random_map(rng, 16, 16) for _ in range(5)], LEVELS)
    assert prior.table.dtype == np.int32
    assert prior.table.min() >= 1
    assert (prior.table.sum(axis=1) == TOTAL).all()
    rate_map = random_map(rng, 10, 13)
    bits = prior.encode(rate_map)
    assert np.array_equal(RateMapPrior(prior.table.copy()).decode(bits, 10, 13), rate_map)


@pytest.mark.parametrize("levels", [2, 4, 8, 32])
def test_other_numbers_of_levels(levels: int) -> None:
    rate_map = np.random.default_rng(0).integers(0, levels, (9, 7))
    prior = RateMapPrior.fit([rate_map], levels)
    assert prior.levels == levels
    assert np.array_equal(prior.decode(prior.encode(rate_map), 9, 7), rate_map)


def test_the_map_of_zeros_has_a_bit_to_protect() -> None:
    prior = RateMapPrior.default(LEVELS)
    zeros = prior.table.copy()
    zeros[:, 1:], zeros[:, 0] = 1, TOTAL - LEVELS + 1
    for table, size in ((prior.table, (1, 1)), (prior.table, (4, 4)), (zeros, (256, 256))):
        prior = RateMapPrior(table)
        bits = prior.encode(np.zeros(size, dtype=int))
        assert bits.tolist() == [0]
        assert not prior.decode(bits, *size).any()
        for other in ([], [0, 0]):
            with pytest.raises(OutageError):
                prior.decode(np.array(other, dtype=np.uint8), *size)


def test_golden_code() -> None:
    # Encoder and decoder may run on different machines and versions: the code must not drift.
    rate_map = np.add.outer(np.arange(5), np.arange(6)) % 9
    code = "".join(map(str, RateMapPrior.default(LEVELS).encode(rate_map)))
    assert code == GOLDEN


def test_large_map_is_fast() -> None:
    rate_map = random_map(np.random.default_rng(3), 256, 256)
    prior = RateMapPrior.default(LEVELS)
    start = time.process_time()
    assert np.array_equal(prior.decode(prior.encode(rate_map), 256, 256), rate_map)
    assert time.process_time() - start < 2.0


def test_bits_are_the_code_of_their_map_or_refused() -> None:
    # Nearly every bit string of a likely length is the code of some map (that is what makes it
    # short); telling it from the map sent is the CRC's task. All others are refused.
    rng = np.random.default_rng(4)
    prior = RateMapPrior.default(LEVELS)
    bits = prior.encode(random_map(rng, 12, 12))
    refused = 0
    for garbage in (bits[:-20], *(rng.integers(0, 2, n).astype(np.uint8) for n in range(50))):
        try:
            assert np.array_equal(prior.encode(prior.decode(garbage, 12, 12)), garbage)
        except OutageError:
            refused += 1
    assert refused > 10
    for garbage in (np.append(bits, np.zeros(9, np.uint8)), rng.integers(0, 2, 2000)):
        with pytest.raises(OutageError):
            prior.decode(garbage.astype(np.uint8), 12, 12)


def test_bad_input() -> None:
    prior = RateMapPrior.default(LEVELS)
    for bad in (np.full((3, 3), 16), np.full((3, 3), -1), np.zeros(4, int), np.zeros((0, 4), int)):
        with pytest.raises(InputError):
            prior.encode(bad)
    with pytest.raises(InputError):
        RateMapPrior(np.ones((3, 16)))
    with pytest.raises(InputError):
        RateMapPrior(np.zeros_like(prior.table))


GOLDEN = "000010101010010101110111000010011010011001001110101011010010110011010000101110010100011"
