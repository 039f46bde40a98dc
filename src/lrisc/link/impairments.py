"""What radios do to samples: amplifier, clocks, phase noise, IQ imbalance, DC, quantisation.

Each is one equation and a field of :class:`Impairments`; ``apply`` puts them in the order in which
a signal meets them. Noise is drawn from the seed, so a run repeats.
"""

import math
from dataclasses import dataclass

import numpy as np

from lrisc.errors import InputError
from lrisc.link.multipath import Realisation
from lrisc.link.waveform.sequences import ComplexArray

# Taps and phases of the interpolator; a Kaiser window of this beta leaves -90 dB.
_TAPS, _PHASES, _BETA = 64, 4096, 10.0
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Impairments:
    """Impairments of both radios; the defaults are an ideal one.

    Attributes:
        pa: input back-off in dB of a Rapp amplifier of smoothness 2; None is linear.
        timing: delay in samples, whole and fraction; that much silence comes before.
        sro: sampling rate offset in ppm: the receiver's clock is that much faster.
        cfo: carrier frequency offset in Hz, at most half the sample rate.
        phase_noise: linewidth in Hz of a Wiener process, both oscillators together.
        iq_imbalance: gain (dB) and phase (degrees) between I and Q of the receiver.
        dc: power of the receiver's DC offset over the signal's, dB; None is none.
        adc_bits: bits of each converter, full scale at the largest value; None is exact.
    """

    pa: float | None = None
    timing: float = 0.0
    sro: float = 0.0
    cfo: float = 0.0
    phase_noise: float = 0.0
    iq_imbalance: tuple[float, float] = (0.0, 0.0)
    dc: float | None = None
    adc_bits: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        gain, phase = self.iq_imbalance
        for name, value, low, high in (
            ("pa back-off (dB)", self.pa, -10.0, 60.0),
            ("timing (samples)", self.timing, 0.0, 1e7),
            ("sro (ppm)", self.sro, -1000.0, 1000.0),
            ("cfo (Hz)", self.cfo, -1e9, 1e9),
            ("phase noise (Hz)", self.phase_noise, 0.0, 1e6),
            ("IQ gain (dB)", gain, -20.0, 20.0),
            ("IQ phase (degrees)", phase, -60.0, 60.0),
            ("dc (dB)", self.dc, -100.0, 60.0),
            ("adc bits", self.adc_bits, 1, 24),
        ):
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{name} must lie in {low:g} to {high:g}, not {value:g}")

    def apply(
        self,
        samples: ComplexArray,
        sample_rate: float,
        power: float,
        noise: float,
        seed: int,
        multipath: Realisation | None = None,
    ) -> ComplexArray:
        """Send samples from one radio to the other.

        Args:
            samples: complex64 (n,).
            sample_rate: Hz.
            power: mean power of the signal while it is on, which ``pa`` and ``dc`` refer to.
            noise: variance of the complex noise per sample.
            seed: of noise, phase noise and the phase of the DC offset.
            multipath: channel between them; None is a single path of gain 1.

        Returns:
            complex64, longer than the input by the delay and the clocks' difference.

        Raises:
            InputError: a ``cfo`` that samples at this rate cannot show: it would be another one.
        """
        if abs(self.cfo) > sample_rate / 2:
            unit = "cycles per symbol" if sample_rate == 1 else "Hz"
            raise InputError(
                f"cfo must lie in ±{sample_rate / 2:g} {unit}, half of this recording's sample "
                f"rate, not {self.cfo:g}"
            )
        rng = np.random.default_rng([seed, 0x696D7061])
        y = samples if self.pa is None else rapp(samples, power, self.pa)
        if multipath is not None:
            y = multipath.apply(y, sample_rate)
        if self.timing or self.sro:
            y = resample(y, self.timing, self.sro)
        index = np.arange(y.size)
        turns = np.zeros(y.size) if not self.cfo else self.cfo / sample_rate * index
        if self.phase_noise:
            step = math.sqrt(self.phase_noise / (2 * math.pi * sample_rate))
            turns = turns + np.cumsum(rng.normal(0.0, step, y.size))
        if self.cfo or self.phase_noise:
            y = y * np.exp(2j * np.pi * (turns % 1.0)).astype(np.complex64)
        if noise > 0:
            y = y + complex_normal(rng, y.size, noise)
        gain, phase = self.iq_imbalance
        if gain or phase:
            y = imbalance(y, gain, phase)
        if self.dc is not None:
            level = math.sqrt(power * 10 ** (self.dc / 10))
            y = y + np.complex64(level * np.exp(2j * np.pi * rng.uniform()))
        return quantise(y, self.adc_bits) if self.adc_bits is not None else y


def complex_normal(rng: np.random.Generator, n: int, variance: float) -> ComplexArray:
    """CN(0, variance), complex64 (n,)."""
    pair = rng.standard_normal((n, 2), np.float32) * np.float32(math.sqrt(variance / 2))
    return pair.view(np.complex64)[:, 0]


def rapp(samples: ComplexArray, power: float, back_off_db: float) -> ComplexArray:
    """Rapp's solid-state amplifier, p = 2: x / (1 + (|x|/A)^4)^(1/4), A² = power · back-off."""
    saturation = power * 10 ** (back_off_db / 10)
    return (samples / (1 + (np.abs(samples) ** 2 / max(saturation, 1e-30)) ** 2) ** 0.25).astype(
        np.complex64
    )


def resample(samples: ComplexArray, delay: float, ppm: float) -> ComplexArray:
    """Values at (i - delay) / (1 + ppm · 1e-6), i = 0, 1, …: windowed-sinc interpolation."""
    ratio = 1 + ppm * 1e-6
    length = math.ceil(samples.size * ratio + delay) + _TAPS // 2
    offsets = np.arange(_TAPS) - _TAPS // 2 + 1
    phases = np.arange(_PHASES + 1)[:, None] / _PHASES
    reach = offsets[None, :] - phases
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (reach / (_TAPS / 2)) ** 2, 0)))
    table = (np.sinc(reach) * window / np.i0(_BETA)).astype(np.float32)
    padded = np.concatenate([np.zeros(_TAPS), samples, np.zeros(2 * _TAPS)]).astype(np.complex64)
    out = np.zeros(length, np.complex64)
    for start in range(0, length, _CHUNK):
        at = (np.arange(start, min(start + _CHUNK, length)) - delay) / ratio
        whole = np.floor(at)
        phase = np.round((at - whole) * _PHASES).astype(np.int64)
        base = whole.astype(np.int64)
        inside = (base >= -_TAPS // 2) & (base < samples.size + _TAPS // 2)
        index = base[inside][:, None] + offsets[None, :] + _TAPS
        part = out[start : start + at.size]
        part[inside] = np.einsum("nt,nt->n", padded[index], table[phase[inside]])
    return out


def imbalance(samples: ComplexArray, gain_db: float, phase_deg: float) -> ComplexArray:
    """μ x + ν x*, μ = (1 + g e^(-jφ))/2, ν = (1 - g e^(jφ))/2."""
    g, phi = 10 ** (gain_db / 20), math.radians(phase_deg)
    mu, nu = (1 + g * np.exp(-1j * phi)) / 2, (1 - g * np.exp(1j * phi)) / 2
    return (mu * samples + nu * samples.conj()).astype(np.complex64)


def quantise(samples: ComplexArray, bits: int) -> ComplexArray:
    """Round I and Q to 2^bits levels between ± their largest value."""
    values = samples.view(np.float32)
    peak = float(np.abs(values).max(initial=0.0))
    if peak == 0:
        return samples
    step = 2 * peak / (1 << bits)
    levels = np.clip(np.floor(values / step), -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return ((levels + 0.5) * step).astype(np.float32).view(np.complex64)
