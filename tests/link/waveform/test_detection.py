"""Detection: frames are found, everything else is not."""

import numpy as np
import pytest
from tests.link.waveform.signals import OFDM, Samples, frame_symbols

from lrisc.link.waveform.detection import Detection, find_frames
from lrisc.link.waveform.modulator import modulate
from lrisc.link.waveform.numerology import PRESETS
from lrisc.link.waveform.source import ArraySource

EVERY = tuple(PRESETS.values())


def noise(rng: np.random.Generator, n: int) -> Samples:
    values = rng.standard_normal((n, 2), np.float32).view(np.complex64)[:, 0]
    return values * np.float32(np.sqrt(0.5))


def found(samples: Samples) -> list[Detection]:
    return list(find_frames(ArraySource(samples), EVERY))


def check_at_minus_3_db(rng: np.random.Generator, carriers: float, start: int) -> None:
    """A frame at a place is found there, and its CFO to a twentieth of a carrier."""
    frame = modulate(frame_symbols(0, 300, 20), OFDM)
    amplitude = 10 ** (-3 / 20) / np.sqrt(OFDM.occupied / OFDM.fft_size)
    turn = np.exp(2j * np.pi * carriers / OFDM.fft_size * np.arange(frame.size)) * amplitude
    samples = noise(rng, 6000)
    samples[start : start + frame.size] += (frame * turn).astype(np.complex64)
    (detection,) = found(samples)
    assert detection.start == start
    assert abs(detection.cfo * OFDM.fft_size - carriers) < 0.05


@pytest.mark.slow
def test_at_minus_3_db_a_sample_with_any_offset() -> None:
    # 100 trials; scripts/measure_waveform.py does thousands.
    rng = np.random.default_rng(0)
    for _ in range(100):
        check_at_minus_3_db(rng, rng.uniform(-3.9, 3.9), int(rng.integers(0, 2000)))


@pytest.mark.parametrize("carriers", [3.98, -3.98])
def test_at_the_ends_of_the_range_of_cfo(carriers: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        check_at_minus_3_db(rng, carriers, 1000)


def test_several_frames_across_chunks() -> None:
    rng = np.random.default_rng(1)
    frame = modulate(frame_symbols(0, 300, 20), OFDM)
    starts = [0, 3300, 65_530, 131_000, 196_600]
    samples = 0.3 * noise(rng, 210_000)
    for start in starts:
        samples[start : start + frame.size] += frame
    assert [detection.start for detection in found(samples)] == starts


def test_presets_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    for preset in (PRESETS["ofdm"], PRESETS["ofdm-long"]):
        frame = modulate(frame_symbols(0, 300, 20), preset)
        samples = noise(rng, 12_000)
        samples[3000 : 3000 + frame.size] += frame
        (detection,) = found(samples)
        assert (detection.start, detection.numerology.name) == (3000, preset.name)


def test_noise_tones_impulses_and_data_are_no_frames() -> None:
    rng = np.random.default_rng(3)
    n = 1 << 17
    index = np.arange(n)
    assert found(noise(rng, 1 << 21)) == []
    assert found(np.zeros(n, np.complex64)) == []
    assert found(np.full(n, 1 + 1j, np.complex64)) == []
    for frequency in (0, 1 / 256, 1 / 32, 0.113, 0.5):
        tone = np.exp(2j * np.pi * frequency * index).astype(np.complex64)
        assert found(tone) == []
        assert found(tone + np.float32(0.01) * noise(rng, n)) == []
    chirp = np.exp(1j * np.pi * (index % 4096) ** 2 / 4096).astype(np.complex64)
    assert found(chirp) == []
    impulses = 0.01 * noise(rng, n)
    impulses[::32] += 1  # as far apart as the preamble's blocks
    impulses[rng.integers(0, n, 50)] += 30
    assert found(impulses) == []
    data = modulate(frame_symbols(0, 60_000, 800), OFDM)[OFDM.start_samples :]
    assert found(data) == []


def test_mirrored_or_at_another_rate_is_no_frame() -> None:
    frame = modulate(frame_symbols(0), OFDM)
    assert len(found(frame)) == 1
    assert found(frame.conj()) == []
    assert found(frame[::2].copy()) == []
    assert found(np.repeat(frame, 2)) == []


@pytest.mark.parametrize("size", [0, 1, 31, 447, 991])
def test_too_short_for_a_frame(size: int) -> None:
    assert found(np.ones(size, np.complex64)) == []
