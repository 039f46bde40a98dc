"""Finding frames in a recording of any length.

First the signed autocorrelation of the preamble (Schmidl and Cox, with signs that noise, tones and
a frame's own data do not have), then the cross-ambiguity function with preamble and training.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lrisc.link.waveform.numerology import PREAMBLE_SIGNS, Numerology
from lrisc.link.waveform.sequences import ComplexArray, start_waveform
from lrisc.link.waveform.source import SampleSource

CHUNK = 1 << 16
# |autocorrelation|^2 over its mean in noise. Noise passes with exp(-11) at one independent place,
# a preamble at -5 dB a sample is lost once in fifty.
AUTOCORRELATION_THRESHOLD = 11.0
# Share of the energy that preamble and training explain. At one place of the ambiguity function
# noise passes with exp(-0.06 · 992) = 1e-26, the mirrored preamble has 0.04; a frame at -6 dB a
# sample has 0.2.
AMBIGUITY_THRESHOLD = 0.06
_STEP_SHARE = 8  # autocorrelation every block/8 samples
_AMBIGUOUS = 0.4  # of a turn between blocks, of 0.5
_GROUP = 16  # samples summed before the Doppler transform: one carrier turns them by 0.4 rad


@dataclass(frozen=True)
class Detection:
    """A place where a frame begins.

    Attributes:
        start: sample of the preamble's first sample by the strongest path.
        cfo: carrier frequency offset in cycles per sample.
        explained: share of the energy there that preamble and training explain, 0 to 1.
        numerology: of the waveform.
    """

    start: int
    cfo: float
    explained: float
    numerology: Numerology


def find_frames(
    source: SampleSource, numerologies: Sequence[Numerology], start: int = 0
) -> Generator[Detection, int | None, None]:
    """Detections in rising order; memory and time per sample do not depend on the length.

    Args:
        source: the samples.
        numerologies: waveforms to look for; those of one layout are found once, as the first.
        start: first sample to look at.

    Yields:
        Detections. Sending a sample number goes on from there: what lies within a received frame
        need not be searched.
    """
    layouts = list(
        {(n.fft_size, n.cyclic_prefix, n.edge): n for n in reversed(numerologies)}.values()
    )
    overlap = max(n.start_samples + 2 * n.block for n in layouts)
    at, done = start, start - 1
    while at < source.size:
        # A preamble that begins in this chunk is all in it.
        chunk = source.read(at, CHUNK + overlap)
        found = sorted(
            (d for n in layouts for d in _find_in(source, chunk, at, n)), key=lambda d: d.start
        )
        for detection in found:
            if detection.start <= done:
                continue
            resume = yield detection
            done = detection.start + detection.numerology.start_samples // 2
            if resume is not None:
                done = max(done, resume - 1)
        at = max(at + CHUNK, done + 1)


def _find_in(
    source: SampleSource, chunk: ComplexArray, at: int, numerology: Numerology
) -> list[Detection]:
    metric, correlation = autocorrelation(chunk, numerology)
    step = numerology.block // _STEP_SHARE
    metric = metric[: CHUNK // step]
    # The mean of |P|^2/R^2 in noise is one over the number of products.
    threshold = AUTOCORRELATION_THRESHOLD / (len(PREAMBLE_SIGNS) * numerology.block)
    found: list[Detection] = []
    reach = numerology.preamble_samples // step
    for i in np.flatnonzero(metric > threshold).tolist():
        if metric[i] < metric[max(i - reach, 0) : i + reach].max():
            continue
        turn = math.atan2(correlation[i].imag, correlation[i].real) / (2 * math.pi)
        # At the ends of what the lag can tell, ±4 carriers, noise may turn one into the other.
        turns = (turn,) if abs(turn) < _AMBIGUOUS else (turn, turn - math.copysign(1.0, turn))
        confirmed = [
            detection
            for one in turns
            if (detection := confirm(source, at + i * step, one / numerology.block, numerology))
        ]
        if confirmed:
            found.append(max(confirmed, key=_explained))
    return found


def _explained(detection: Detection) -> float:
    return detection.explained


def autocorrelation(
    samples: ComplexArray, numerology: Numerology
) -> tuple[npt.NDArray[np.float32], ComplexArray]:
    """Signed autocorrelation at lag N/8, every N/64 samples.

    P(d) = Σ_b s_b Σ_n y[d + n + N/8] y*[d + n],  metric = |P|² / R²,

    n over block b of 13, s_b the preamble's signs, R the mean energy of both factors. The mean of
    the samples is taken out first: a receiver's DC offset correlates with everything.

    Returns:
        metric float32 (m,) and P complex64 (m,).
    """
    block = numerology.block
    step = block // _STEP_SHARE
    y = samples - samples.mean()
    usable = (y.size - block) // step * step
    products = y[block : block + usable] * y[:usable].conj()
    energy = y.real**2 + y.imag**2
    per_block = _running_sum(_decimated_sum(products, step), _STEP_SHARE)
    spans = len(PREAMBLE_SIGNS)
    count = per_block.size - (spans - 1) * _STEP_SHARE
    if count <= 0:
        return np.zeros(0, np.float32), np.zeros(0, np.complex64)
    correlation = np.zeros(count, np.complex64)
    for b, sign in enumerate(PREAMBLE_SIGNS):
        part = per_block[b * _STEP_SHARE : b * _STEP_SHARE + count]
        correlation += part if sign > 0 else -part
    total = _running_sum(_decimated_sum(energy, step), spans * _STEP_SHARE)
    r = 0.5 * (total[:count] + total[_STEP_SHARE : _STEP_SHARE + count])
    # Silence after a loud part must not be judged by rounding errors.
    floor = max(1e-9 * float(r.max()), 1e-18)
    metric = (correlation.real**2 + correlation.imag**2) / np.maximum(r, floor) ** 2
    return metric.astype(np.float32), correlation


def confirm(
    source: SampleSource, near: int, cfo: float, numerology: Numerology
) -> Detection | None:
    """Look for preamble and training near a place, by the cross-ambiguity function.

    A(d, f) = Σ_n y[d + n] s*[n] e^(-j2πfn) over all samples n of preamble and training, for
    delays d within a block of ``near`` and f within a carrier of ``cfo``.
    """
    known = start_waveform(numerology)
    reach = numerology.block
    y = source.read(near - reach, known.size + 2 * reach)
    y = y - y.mean()
    n = np.arange(y.size)
    y = y * np.exp(-2j * np.pi * cfo * n).astype(np.complex64)
    groups = known.size // _GROUP
    windows = np.lib.stride_tricks.sliding_window_view(y, groups * _GROUP)
    known = known[: groups * _GROUP]
    products = (windows * known.conj()).reshape(windows.shape[0], groups, _GROUP).sum(axis=2)
    bins = 1 << (4 * groups - 1).bit_length()
    ambiguity = np.fft.fft(products, bins, axis=1)
    power = ambiguity.real**2 + ambiguity.imag**2
    # A carrier is 1/N cycles a sample, so 16/N · bins of these.
    near_bins = math.ceil(_GROUP / numerology.fft_size * bins)
    power[:, near_bins + 1 : bins - near_bins] = 0
    delay = int(power.max(axis=1).argmax())
    energy = float(np.sum(np.abs(known) ** 2) * np.sum(np.abs(windows[delay]) ** 2))
    explained = float(power[delay].max()) / max(energy, 1e-30)
    if explained < AMBIGUITY_THRESHOLD:
        return None
    # The frequency by all paths together: power summed over delays that carry a share of it.
    strong = power[power.max(axis=1) > 0.1 * power[delay].max()].sum(axis=0)
    k = int(strong.argmax())
    left, middle, right = (float(strong[(k + i) % bins]) for i in (-1, 0, 1))
    curvature = left - 2 * middle + right
    fraction = 0.5 * (left - right) / curvature if curvature else 0.0
    signed = (k if k < bins // 2 else k - bins) + fraction
    return Detection(near - reach + delay, cfo + signed / bins / _GROUP, explained, numerology)


def _decimated_sum(values: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Sums of ``step`` values each, by strided slices: numpy sums short rows far slower."""
    values = values[: values.size // step * step]
    total = values[::step].copy()
    for i in range(1, step):
        total += values[i::step]
    return total


def _running_sum(values: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Sums of ``width`` neighbours, by doubling: a cumulated sum would drift."""
    if width == 1:
        return values
    half = _running_sum(values, width // 2)
    count = max(values.size - width + 1, 0)
    total = half[:count] + half[width // 2 : width // 2 + count]
    return total + values[width - 1 : width - 1 + count] if width % 2 else total
