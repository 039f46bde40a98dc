"""The estimator finds the statistics it was not told."""

import numpy as np
import pytest

from lrisc.link.waveform.estimation import Observations, estimate

FFT, EDGE = 256, 104


def observed(
    doppler_periods: float, snr_db: float, seed: int, taps: tuple[int, ...] = (0, 3, 7)
) -> tuple[Observations, np.ndarray, np.ndarray, np.ndarray]:
    """Random elements of a channel of a few taps, each turning by so many periods in the block."""
    rng = np.random.default_rng(seed)
    n = 1500
    carriers = rng.integers(-EDGE, EDGE + 1, n)
    times = rng.uniform(0, 1, n)
    gains = rng.normal(size=(len(taps), 8)) + 1j * rng.normal(size=(len(taps), 8))
    gains /= np.sqrt(2 * 8 * len(taps))
    shifts = doppler_periods * np.cos(2 * np.pi * rng.uniform(size=8))

    def response(k: np.ndarray, u: np.ndarray) -> np.ndarray:
        moving = np.exp(2j * np.pi * np.outer(u, shifts)) @ gains.T
        return (moving * np.exp(-2j * np.pi * np.outer(k, taps) / FFT)).sum(axis=1)

    h = response(carriers, times)
    noise = 10 ** (-snr_db / 10)
    w = (rng.normal(size=n) + 1j * rng.normal(size=n)) * np.sqrt(noise / 2)
    x = np.exp(0.5j * np.pi * rng.integers(0, 4, n))
    grid_k, grid_u = np.arange(-EDGE, EDGE + 1, 8), np.linspace(0.05, 0.95, 19)
    truth = np.array([response(grid_k, np.full(grid_k.size, u)) for u in grid_u])
    seen = Observations((h * x + w).astype(np.complex64), x.astype(np.complex64), carriers, times)
    return seen, grid_k, grid_u, truth


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
@pytest.mark.parametrize("doppler", [0.0, 0.5, 2.0])
def test_noise_order_and_error(doppler: float, snr_db: float) -> None:
    seen, k, u, truth = observed(doppler, snr_db, 1)
    delays = np.arange(-2, 19)
    found = estimate(seen, delays, np.full(21, 1 / 21), 1.0, FFT, 16)
    assert 10 * np.log10(found.noise) == pytest.approx(-snr_db, abs=0.5)
    error = np.abs(found.response(k, u) - truth) ** 2
    claimed = found.error_variance(k, u)
    assert 0.3 < error.mean() / claimed.mean() < 3
    # Far better than the noise: that is what makes one frame's estimate worth having.
    assert 10 * np.log10(error.mean()) < -snr_db - 10
    assert {0, 3, 7} <= set(found.delays.tolist())


def test_a_constant_channel_needs_no_cosines() -> None:
    seen, *_ = observed(0.0, 10.0, 2)
    still = estimate(seen, np.arange(-2, 19), np.full(21, 1 / 21), 1.0, FFT, 16)
    assert still.doppler.size <= 4
    assert still.doppler[1:].sum() < 5e-3
    seen, *_ = observed(3.0, 20.0, 2)
    assert estimate(seen, np.arange(-2, 19), np.full(21, 1 / 21), 1.0, FFT, 32).doppler.size >= 8


def test_normal_equations_are_those_of_the_full_matrix() -> None:
    from lrisc.link.waveform.estimation import _cosines, _normal_equations

    seen, *_ = observed(1.0, 10.0, 3)
    delays, order = np.array([-2, 0, 1, 5]), 3
    taps = np.exp(-2j * np.pi / FFT * np.outer(seen.carriers, delays))
    basis = np.einsum("nl,nq->nlq", taps, _cosines(seen.times, order)).reshape(-1, 12)
    a = seen.sent[:, None] * basis
    weights = np.abs(seen.sent) ** 2
    gram, matched = _normal_equations(seen, weights, delays, FFT, order)
    assert np.allclose(gram, a.conj().T @ a, atol=1e-3)
    assert np.allclose(matched, a.conj().T @ seen.received, atol=1e-3)
