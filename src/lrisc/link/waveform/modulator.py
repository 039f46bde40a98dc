"""Symbols of a frame to the grid of an OFDM waveform and to samples, and back."""

import math

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError
from lrisc.link.waveform.numerology import IntArray, Numerology
from lrisc.link.waveform.sequences import (
    ComplexArray,
    known_elements,
    rotations,
    start_waveform,
)

DEFAULT_CLIP_DB = 6.0
"""Peaks stay this far above the mean power; saves 4 dB of an amplifier's headroom."""
_MAX_CLIP_DB = 100  # no frame has peaks so high
_ROWS_AT_ONCE = 2048


def data_columns(numerology: Numerology, rows: IntArray) -> IntArray:
    """Columns of the data in sending order, int64 (len(rows), data_carriers).

    Symbol p of a frame goes to OFDM symbol m = p div D, place p mod D, D data carriers a symbol.
    Place i of OFDM symbol m is its data carrier (i + r_m) mod D, counted from the lowest, with
    pseudo-random r_m: neighbours in the picture, which the frame spreads over time, then lie on
    unrelated carriers.
    """
    width = numerology.data_carriers
    free = np.nonzero(~numerology.is_comb(rows))[1].reshape(rows.size, width)
    last = int(rows.max(initial=-1)) + 1
    turned = rotations(last, width)[rows][:, None] + np.arange(width)[None, :]
    return np.take_along_axis(free, turned % width, axis=1)


def comb_values(numerology: Numerology, rows: IntArray) -> ComplexArray:
    """Comb pilots of some OFDM symbols, complex64 (len(rows), comb), in ascending columns."""
    last = int(rows.max(initial=-1)) + 1
    return known_elements(last * numerology.comb).reshape(last, numerology.comb)[rows]


def to_grid(symbols: ComplexArray, numerology: Numerology, first_row: int = 0) -> ComplexArray:
    """Lay symbols and comb pilots into the grid.

    Args:
        symbols: complex64 (n,), from the first place of OFDM symbol ``first_row`` on. What remains
            of the last row is filled with known QPSK.
        numerology: of the waveform.
        first_row: number of the first row.

    Returns:
        complex64 (rows, occupied).
    """
    width = numerology.data_carriers
    rows = first_row + np.arange(numerology.ofdm_symbols(symbols.size))
    padded = np.concatenate([symbols, known_elements(rows.size * width - symbols.size)])
    grid = np.empty((rows.size, numerology.occupied), np.complex64)
    np.put_along_axis(
        grid, data_columns(numerology, rows), padded.reshape(rows.size, width), axis=1
    )
    np.put_along_axis(grid, numerology.comb_columns(rows), comb_values(numerology, rows), axis=1)
    return grid


def modulate(
    symbols: npt.NDArray[np.complex64],
    numerology: Numerology,
    clip_db: float | None = DEFAULT_CLIP_DB,
) -> ComplexArray:
    """Samples of a frame: preamble, training and OFDM symbols.

    Args:
        symbols: complex64 (n,) of mean power 1, n > 0.
        numerology: of the waveform.
        clip_db: limit of a sample's power over the mean, in dB; None leaves all peaks.

    Returns:
        complex64 (numerology.samples(n),), of mean power occupied / N while the frame lasts, less
        what the clip takes (6 dB: 0.08 dB). The transform is unitary: noise of variance N0 a sample
        is N0 an element.
    """
    if symbols.ndim != 1 or symbols.size == 0:
        raise InputError("there are no symbols to modulate")
    check_clip(clip_db)
    n, prefix = numerology.fft_size, numerology.cyclic_prefix
    bins = numerology.carriers % n
    samples = np.empty(numerology.samples(symbols.size), np.complex64)
    samples[: numerology.start_samples] = start_waveform(numerology)
    out = samples[numerology.start_samples :].reshape(-1, numerology.symbol_samples)
    for first in range(0, out.shape[0], _ROWS_AT_ONCE):
        width = numerology.data_carriers
        part = symbols[first * width : (first + _ROWS_AT_ONCE) * width]
        grid = to_grid(part.astype(np.complex64), numerology, first)
        spectrum = np.zeros((grid.shape[0], n), np.complex64)
        spectrum[:, bins] = grid
        rows = out[first : first + _ROWS_AT_ONCE]
        rows[:, prefix:] = np.fft.ifft(spectrum, axis=1, norm="ortho")
        rows[:, :prefix] = rows[:, n:]
        if clip_db is not None:
            limit = math.sqrt(numerology.occupied / n) * 10 ** (clip_db / 20)
            rows /= np.maximum(np.abs(rows) / limit, 1.0)
    return samples


def at_unit_energy(
    samples: ComplexArray, frames: ComplexArray, numerology: Numerology
) -> ComplexArray:
    """Scale samples so that Es = 1 an element, whatever the clip took.

    Args:
        samples: complex64 (n,).
        frames: those of them that are of frames, whose mean power becomes occupied / N.
        numerology: of the waveform.

    Raises:
        InputError: the frames are silent.
    """
    power = float(np.mean(np.abs(frames) ** 2))
    if not power > 0:
        raise InputError("the annotated frames of the recording are silent")
    return samples * np.float32(math.sqrt(numerology.occupied / numerology.fft_size / power))


def check_clip(clip_db: float | None) -> None:
    """Raise InputError unless peaks may be limited to so many dB over the mean power."""
    if clip_db is not None and not 3 <= clip_db <= _MAX_CLIP_DB:
        raise InputError(
            f"the clip must lie 3 to {_MAX_CLIP_DB} dB over the mean power, not {clip_db:g}"
        )


def demodulate(samples: ComplexArray, starts: IntArray, numerology: Numerology) -> ComplexArray:
    """Occupied carriers of the FFT windows that begin at ``starts``, complex64 (rows, occupied)."""
    n = numerology.fft_size
    windows = np.lib.stride_tricks.sliding_window_view(samples, n)[starts]
    spectrum = np.fft.fft(windows, axis=1, norm="ortho")[:, numerology.carriers % n]
    return spectrum.astype(np.complex64, copy=False)
