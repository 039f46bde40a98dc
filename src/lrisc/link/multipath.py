"""Channels of moving paths: 3GPP TDL and CDL (TR 38.901) by Sionna, flat Rayleigh and Rician.

A realisation is a set of paths, each a delay and a gain over time. It is applied to samples, or
sampled on the grid of an OFDM waveform, where it is the channel that a perfect receiver would know.
Realisations are never normalised one by one: that would take the fades out.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError
from lrisc.link.sionna_blocks import IMPORTING
from lrisc.link.waveform.modulator import data_columns
from lrisc.link.waveform.numerology import PRESETS, Numerology
from lrisc.link.waveform.sequences import ComplexArray

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

SPEED_OF_LIGHT = 299_792_458.0
FLAT = ("rayleigh", "rician")
TAPPED = tuple(f"{kind}-{profile}" for kind in ("tdl", "cdl") for profile in "abcde")
MODELS = (*FLAT, *TAPPED)
RICIAN_K_DB = 6.0
"""Power of the constant path of ``rician`` over that of the scattered ones."""
# Gains are drawn this many times per period of the largest Doppler shift, splines between.
_PER_PERIOD = 16
_SINUSOIDS = 32
# The sinc of a fractional delay is cut off this many samples before and behind it.
_REACH = 12
# Samples at a time, and samples times lags: the taps of a part take 16 bytes each.
_CHUNK, _CHUNK_TAPS = 1 << 16, 1 << 22
MAX_LAGS = 1 << 12
"""Samples that the paths of a realisation may span; every lag costs a pass over the samples."""
MAX_STEPS = 1 << 17
"""Times that gains are drawn for; Sionna takes some 10 KB for each."""


@dataclass(frozen=True)
class Mobility:
    """What a realisation depends on besides its model and seed.

    Attributes:
        delay_spread: RMS, seconds; without effect on flat models.
        speed: of the receiver, m/s.
        carrier_frequency: Hz.
    """

    delay_spread: float = 100e-9
    speed: float = 1.4
    carrier_frequency: float = 3.5e9

    def __post_init__(self) -> None:
        """Refuse what no radio has."""
        for name, value, low, high, each, unit in (
            # In the unit that the command line and people have for it.
            ("delay spread", self.delay_spread, 0.0, 1e-3, 1e-9, "ns"),
            ("speed", self.speed, 0.0, 1000.0, 1, "m/s"),
            ("carrier frequency", self.carrier_frequency, 1e6, 1e11, 1, "Hz"),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(
                    f"the {name} must lie between {low / each:g} and {high / each:g} {unit}, "
                    f"not {value / each:g} {unit}"
                )

    @property
    def doppler(self) -> float:
        """Largest Doppler shift in Hz."""
        return self.speed * self.carrier_frequency / SPEED_OF_LIGHT


@dataclass(frozen=True, eq=False)
class Realisation:
    """Paths of one channel realisation.

    Attributes:
        delays: float64 (P,), seconds.
        gains: complex128 (T, P), sampled at ``rate``; mean power 1 over realisations.
        rate: Hz.
    """

    delays: npt.NDArray[np.float64]
    gains: npt.NDArray[np.complex128]
    rate: float

    def at(self, times: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.complex128]:
        """Gains at times in seconds, complex128 (len(times), P)."""
        if self.gains.shape[0] == 1:
            return np.repeat(self.gains, times.size, axis=0)
        return self._spline(times)

    @cached_property
    def _spline(self) -> "CubicSpline":
        # Imported here: training draws channels on machines that may have no SciPy.
        from scipy.interpolate import CubicSpline

        return CubicSpline(np.arange(self.gains.shape[0]) / self.rate, self.gains)

    def apply(self, samples: ComplexArray, sample_rate: float) -> ComplexArray:
        """Send samples through it: complex64 (n,) to (n,), the shortest path without delay.

        y[i] = Σ_l h_l(i) x[i - l],  h_l = Σ_p g_p sinc(l - τ_p fs).

        Raises:
            InputError: paths that span more than ``MAX_LAGS`` samples.
        """
        positions = self.delays * sample_rate
        low = math.floor(float(positions.min())) - _REACH
        high = math.ceil(float(positions.max())) + _REACH
        if high - low >= MAX_LAGS:
            raise InputError(
                f"the channel's paths span {high - low + 1:,} samples at {sample_rate:g} Hz, of "
                f"{MAX_LAGS:,} at most: choose a smaller delay spread"
            )
        lags = np.arange(low, high + 1)
        shape = np.sinc(lags[None, :] - positions[:, None])
        out = np.zeros(samples.size, np.complex64)
        chunk = min(_CHUNK, _CHUNK_TAPS // lags.size)
        for start in range(0, samples.size, chunk):
            stop = min(start + chunk, samples.size)
            taps = self.at(np.arange(start, stop) / sample_rate) @ shape
            for lag, tap in zip(lags.tolist(), taps.T, strict=True):
                first, last = max(start - lag, 0), min(stop - lag, samples.size)
                if first < last:
                    part = slice(first + lag - start, last + lag - start)
                    out[first + lag : last + lag] += (tap[part] * samples[first:last]).astype(
                        np.complex64
                    )
        return out

    def on_grid(
        self, numerology: Numerology, rows: npt.NDArray[np.integer | np.floating[Any]]
    ) -> ComplexArray:
        """H of OFDM symbols, complex64 (len(rows), occupied): what a perfect receiver knows."""
        middle = numerology.start_samples + numerology.cyclic_prefix + numerology.fft_size / 2
        times = (middle + rows * numerology.symbol_samples) / numerology.sample_rate
        turned = np.exp(
            -2j * np.pi * np.outer(self.delays, numerology.carriers * numerology.spacing)
        )
        return (self.at(times) @ turned).astype(np.complex64)


def draw(model: str, mobility: Mobility, duration: float, seed: int) -> Realisation:
    """One realisation of a model.

    Args:
        model: a name in ``MODELS``.
        mobility: delay spread, speed, carrier frequency.
        duration: seconds it must last.
        seed: the same seed makes the same realisation.

    Raises:
        InputError: an unknown model, or one that turns too often while it lasts.
    """
    if model not in MODELS:
        raise InputError(f"unknown multipath channel '{model}'; choose one of {', '.join(MODELS)}")
    rate = _PER_PERIOD * mobility.doppler
    # One value serves while the channel turns by less than a thousandth of a period.
    steps = 1 if mobility.doppler * duration < 1e-3 else max(4, math.ceil(duration * rate) + 4)
    if steps > MAX_STEPS:
        raise InputError(
            f"the channel changes too often: {mobility.doppler:g} Hz of Doppler for {duration:.3g} "
            f"s, at most {MAX_STEPS // _PER_PERIOD / duration:.0f} Hz for so long: choose a lower "
            "speed or carrier frequency"
        )
    rate = max(rate, 1e-9)
    if model in FLAT:
        gains = _jakes(mobility.doppler, np.arange(steps) / rate, seed)
        if model == "rician":
            k = 10 ** (RICIAN_K_DB / 10)
            gains = math.sqrt(k / (k + 1)) + gains / math.sqrt(k + 1)
        return Realisation(np.zeros(1), gains[:, None], rate)
    return _sionna(model, mobility, steps, rate, seed)


def element_gains(model: str, mobility: Mobility, count: int, seed: int) -> ComplexArray:
    """H of a frame's symbols where the waveform ``ofdm`` puts them, complex64 (count,)."""
    ofdm = PRESETS["ofdm"]
    rows = np.arange(ofdm.ofdm_symbols(max(count, 1)))
    duration = ofdm.samples(max(count, 1)) / ofdm.sample_rate
    grid = draw(model, mobility, duration, seed).on_grid(ofdm, rows)
    return np.take_along_axis(grid, data_columns(ofdm, rows), 1).reshape(-1)[:count].copy()


def _jakes(doppler: float, times: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.complex128]:
    """Rayleigh fading of uniform scattering, complex128 (T,), as a sum of sinusoids."""
    rng = np.random.default_rng([seed, 0x6A616B65])
    amplitudes = rng.normal(size=(2, _SINUSOIDS)) / math.sqrt(2 * _SINUSOIDS)
    angles = (np.arange(_SINUSOIDS) + rng.uniform(size=_SINUSOIDS)) * 2 * np.pi / _SINUSOIDS
    turns = np.exp(2j * np.pi * doppler * np.outer(times, np.cos(angles)))
    return turns @ (amplitudes[0] + 1j * amplitudes[1])


def _sionna(model: str, mobility: Mobility, steps: int, rate: float, seed: int) -> Realisation:
    import torch

    with IMPORTING:
        from sionna.phy import config
        from sionna.phy.channel.tr38901 import CDL, TDL, PanelArray

    kind, profile = model.split("-")
    place: dict[str, Any] = {"device": "cpu", "precision": "single"}
    # Sionna seeds by a global setting; it has no state of its own to hand over.
    config.seed = int(np.random.SeedSequence([seed]).generate_state(1)[0] >> 1)
    common: dict[str, Any] = {
        "model": profile.upper(),
        "delay_spread": mobility.delay_spread,
        "carrier_frequency": mobility.carrier_frequency,
        "min_speed": mobility.speed,
        "max_speed": mobility.speed,
    }
    if kind == "tdl":
        source = TDL(**common, **place)
    else:
        antenna: dict[str, Any] = {
            "num_rows_per_panel": 1,
            "num_cols_per_panel": 1,
            "polarization": "single",
            "polarization_type": "V",
            "antenna_pattern": "omni",
            "carrier_frequency": mobility.carrier_frequency,
        }
        source = CDL(
            **common,
            ut_array=PanelArray(**antenna, **place),
            bs_array=PanelArray(**antenna, **place),
            direction="downlink",
            **place,
        )
    with torch.no_grad():
        gains, delays = source(1, steps, rate)
    tau = delays.reshape(-1).double().numpy()
    return Realisation(
        tau - tau.min(), gains.reshape(tau.size, steps).T.to(torch.complex128).numpy(), rate
    )
