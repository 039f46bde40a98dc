"""Known sequences: the standard's generator, and what the preamble must not look like."""

import numpy as np
import pytest
from tests.link.waveform.signals import gold

from lrisc.link.waveform.numerology import PREAMBLE_SIGNS, PRESETS, Numerology
from lrisc.link.waveform.sequences import gold_sequence, known_elements, rotations, start_waveform


@pytest.mark.parametrize("c_init", [1, 2, 0x5A5A5A5])
def test_gold_sequence(c_init: int) -> None:
    assert gold_sequence(c_init, 500).tolist() == gold(c_init, 500)


def test_a_longer_sequence_begins_like_a_shorter() -> None:
    assert np.array_equal(known_elements(5000)[:100], known_elements(100))
    assert np.array_equal(rotations(1000, 200)[:10], rotations(10, 200))
    assert np.allclose(np.abs(known_elements(100)), 1)


def test_signs() -> None:
    assert sum(PREAMBLE_SIGNS) == 1
    sidelobes = np.correlate(PREAMBLE_SIGNS, PREAMBLE_SIGNS, "full")[: len(PREAMBLE_SIGNS) - 1]
    assert np.abs(sidelobes).max() <= 2


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda p: p.name)
def test_start(preset: Numerology) -> None:
    start = start_waveform(preset)
    assert start.size == preset.start_samples
    power = np.abs(start) ** 2
    mean = preset.occupied / preset.fft_size
    for part in (power[: preset.preamble_samples], power[preset.preamble_samples :]):
        assert part.mean() == pytest.approx(mean, rel=0.01)
    assert 10 * np.log10(power.max() / mean) < 2.7
    # The prefix of the training is its own end: paths of two prefixes' delay leave it cyclic.
    training = start[preset.preamble_samples :]
    prefix, n = preset.training_prefix, preset.fft_size
    assert np.allclose(training[:prefix], training[-prefix:], atol=1e-6)
    assert np.allclose(training[prefix : prefix + n], training[prefix + n :], atol=1e-6)
