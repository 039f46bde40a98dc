"""Impairments do what their equations say."""

import numpy as np
import pytest

from lrisc.errors import InputError
from lrisc.link.impairments import Impairments, imbalance, quantise, rapp, resample

RATE = 2e6


def tone(frequency: float, n: int = 4000) -> np.ndarray:
    return np.exp(2j * np.pi * frequency * np.arange(n)).astype(np.complex64)


def passed(x: np.ndarray, noise: float = 0.0, seed: int = 0, **impairments: object) -> np.ndarray:
    return Impairments(**impairments).apply(x, RATE, 1.0, noise, seed)  # type: ignore[arg-type]


def test_ideal_radios_change_nothing() -> None:
    assert np.array_equal(passed(tone(0.1)), tone(0.1))


def test_cfo_delay_and_clock() -> None:
    assert np.allclose(passed(tone(0.1), cfo=2000.0), tone(0.101), atol=1e-3)
    late = resample(tone(0.2), 10.25, 0.0)
    inner = slice(100, 3900)
    index = np.arange(late.size)[inner]
    assert np.allclose(late[inner], np.exp(0.4j * np.pi * (index - 10.25)), atol=2e-3)
    assert np.abs(late[:5]).max() < 0.1
    slow = resample(tone(0.3), 0.0, 500.0)
    expected = np.exp(0.6j * np.pi * np.arange(slow.size) / 1.0005)[inner]
    assert np.allclose(slow[inner], expected, atol=2e-3)


def test_noise_variance_and_repetition() -> None:
    y = passed(np.zeros(200_000, np.complex64), 0.25)
    assert float(np.mean(np.abs(y) ** 2)) == pytest.approx(0.25, rel=0.02)
    assert np.array_equal(y, passed(np.zeros(200_000, np.complex64), 0.25))
    assert not np.array_equal(y, passed(np.zeros(200_000, np.complex64), 0.25, seed=1))


def test_phase_noise_is_a_random_walk_of_its_linewidth() -> None:
    y = passed(np.ones(400_000, np.complex64), phase_noise=100.0)
    steps = np.angle(y[1000:] * y[:-1000].conj())
    assert np.var(steps) == pytest.approx(2 * np.pi * 100 * 1000 / RATE, rel=0.3)


def test_iq_imbalance_makes_an_image() -> None:
    y = imbalance(tone(0.1), 1.0, 5.0)
    image = abs(np.vdot(tone(-0.1), y)) / abs(np.vdot(tone(0.1), y))
    # |ν/μ| of 1 dB and 5 degrees
    g, phi = 10**0.05, np.radians(5)
    expected = abs(1 - g * np.exp(1j * phi)) / abs(1 + g * np.exp(-1j * phi))
    assert image == pytest.approx(expected, rel=0.05)


def test_dc_amplifier_and_converter() -> None:
    y = passed(tone(0.1), dc=-6.0)
    assert 20 * np.log10(abs(y.mean())) == pytest.approx(-6, abs=0.2)
    loud = rapp(np.array([10.0, 0.01], np.complex64), 1.0, 3.0)
    assert abs(loud[0]) == pytest.approx(10 ** (3 / 20), rel=0.01)
    assert abs(loud[1]) == pytest.approx(0.01, rel=1e-3)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (100_000, 2)).astype(np.float32).view(np.complex64)[:, 0]
    error = np.mean(np.abs(quantise(x, 8) - x) ** 2) / np.mean(np.abs(x) ** 2)
    assert 10 * np.log10(error) == pytest.approx(-6.02 * 8, abs=0.5)
    assert np.unique(quantise(x, 3).real).size == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"cfo": float("nan")},
        {"timing": -1.0},
        {"sro": 5000.0},
        {"adc_bits": 0},
        {"phase_noise": -1.0},
        {"iq_imbalance": (99.0, 0.0)},
        {"dc": float("inf")},
        {"pa": 100.0},
    ],
)
def test_refusals(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Impairments(**wrong)  # type: ignore[arg-type]


def test_an_offset_that_would_alias_is_refused() -> None:
    assert np.allclose(passed(tone(0.0), cfo=-RATE / 2), tone(-0.5), atol=1e-3)
    with pytest.raises(InputError, match=r"±1e\+06 Hz"):
        passed(tone(0.0), cfo=RATE / 2 + 1)
    # Whole Hz would turn one sample a symbol by whole circles: by nothing.
    with pytest.raises(InputError, match=r"±0\.5 cycles per symbol"):
        Impairments(cfo=3.0).apply(tone(0.0), 1.0, 1.0, 0.0, 0)
