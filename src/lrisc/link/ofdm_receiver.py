"""From samples to the symbols of a frame, with the channel state the JSCC decoder wants.

    detection ─► training: delay profile, N0, FFT window
              ─► first OFDM symbols ─► header: how long the frame is
              ─► increments from one segment to the next: CFO and clock drift
              ─► LMMSE with comb, training and header ─► rate map ─► LMMSE with the rate map too

What is handed on is y/σ and h/σ with a noise variance of 1, where σ² is N0 plus the error of the
channel estimate, element by element: every symbol comes with its own effective SNR.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lrisc.errors import InputError, OutageError
from lrisc.link.channels import Received
from lrisc.link.frame import (
    START_SYMBOLS,
    Header,
    decode_header,
    known_symbols,
    parse_body,
    preamble,
)
from lrisc.link.waveform.detection import Detection
from lrisc.link.waveform.estimation import (
    ChannelEstimate,
    FloatArray,
    Observations,
    estimate,
)
from lrisc.link.waveform.modulator import comb_values, data_columns, demodulate, to_grid
from lrisc.link.waveform.numerology import TRAINING_PERIODS, IntArray, Numerology
from lrisc.link.waveform.phase import common_phase
from lrisc.link.waveform.sequences import ComplexArray, training_carriers
from lrisc.link.waveform.source import SampleSource

# OFDM symbols estimated together, and how many more on either side so that no block has an edge.
BLOCK_ROWS = 128
BLOCK_OVERLAP = 8
MAX_ORDER = 32
EDGE_MARGIN = 0.1
# No crystal is further off; beyond it an estimate is a fade's doing.
MAX_CLOCK = 200e-6
# The DC offset is what so many samples have in common.
_DC_SAMPLES = 1 << 15
# ... if it is above this many times what a signal without DC leaves there.
_DC_EVIDENCE = 10.0
_ERROR_STRIDE = 4  # the error of the estimate varies slowly: every fourth OFDM symbol will do


@dataclass(frozen=True, eq=False)
class Reception:
    """A frame found in a recording.

    Attributes:
        detection: where and by which waveform.
        header: of the frame.
        received: its symbols with h, both over σ; noise variance 1.
        cfo: carrier frequency offset in cycles per sample.
        clock_ppm: how much faster the receiver's clock runs than the transmitter's, in ppm.
        snr_db: mean |H|² over N0, Es/N0 per element, dB.
        end: first sample after the frame.
        outage: why there will be no picture, or None.
        diagnostics: for pictures.
    """

    detection: Detection
    header: Header
    received: Received
    cfo: float
    clock_ppm: float
    snr_db: float
    end: int
    outage: str | None
    diagnostics: "Diagnostics"


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """The first block of a frame, element by element.

    Attributes:
        elements: complex64 (rows, occupied), after the FFT.
        response: complex64 (rows, occupied), H.
        noise: float32 (rows, occupied), σ².
        data: int64 (rows, data_carriers), columns of the data.
    """

    elements: ComplexArray
    response: ComplexArray
    noise: npt.NDArray[np.float32]
    data: IntArray


def receive(source: SampleSource, detection: Detection) -> Reception:
    """Synchronise and equalise the frame at a detection.

    Raises:
        OutageError: the header fails its CRC.
        InputError: another format, or the recording ends before the frame.
    """
    link = _Synchronised.at(source, detection)
    header, clues = _header(link)
    numerology = detection.numerology
    rows = numerology.ofdm_symbols(header.frame_symbols)
    end = detection.start + numerology.samples(header.frame_symbols)
    if end > source.size + numerology.cyclic_prefix:
        raise InputError(
            f"the recording is cut short: the frame at sample {detection.start} takes "
            f"{end - detection.start} samples, {max(source.size - detection.start, 0)} are there"
        )
    known = _KnownGrid(numerology, rows, header.frame_symbols)
    known.fill(0, _numpy(preamble(header)))
    link = _track(clues, rows, known)
    grid = link.grid(np.arange(rows))
    outage: str | None = None
    received, diagnostics, snr = _equalise(link, grid, known, header.frame_symbols)
    try:
        bits, _ = parse_body(received, header)
    except OutageError as error:
        outage = str(error)
    else:
        whole = known_symbols(header, bits)
        known.fill(0, _numpy(whole), _numpy(whole) != 0)
        received, diagnostics, snr = _equalise(link, grid, known, header.frame_symbols)
    return Reception(
        detection,
        header,
        received,
        link.cfo,
        1e6 * link.clock,
        10 * math.log10(max(snr, 1e-10)),
        detection.start + round(numerology.samples(header.frame_symbols) * (1 + link.clock)),
        outage,
        diagnostics,
    )


def receive_symbols(source: SampleSource, detection: Detection, count: int) -> Received:
    """The first ``count`` symbols at a detection, where there is no header to say how many.

    For schemes without a frame of ours: their receiver is told the length, and has the comb alone
    to follow the channel by.
    """
    link = _Synchronised.at(source, detection)
    rows = detection.numerology.ofdm_symbols(count)
    known = _KnownGrid(detection.numerology, rows, count)
    link = _track(link, rows, known)
    return _equalise(link, link.grid(np.arange(rows)), known, count)[0]


@dataclass(frozen=True, eq=False)
class _Synchronised:
    """What is known of timing and frequency, and the FFT by that knowledge.

    ``first`` is where the FFT window of OFDM symbol 0 begins, in samples and fractions; window m
    begins at first + m · (N + prefix) · (1 + clock). Paths arrive up to a prefix after that.
    """

    source: SampleSource
    numerology: Numerology
    origin: int
    first: float
    cfo: float
    clock: float
    offset: complex
    delays: IntArray
    profile: FloatArray
    noise: float

    @classmethod
    def at(cls, source: SampleSource, detection: Detection) -> "_Synchronised":
        """Delay profile, noise and FFT window from the training."""
        n = detection.numerology
        prefix = n.cyclic_prefix
        samples = source.read(detection.start, _DC_SAMPLES)[: max(source.size - detection.start, 1)]
        power = float(np.mean(np.abs(samples) ** 2))
        dc = complex(samples.mean(dtype=np.complex128))
        chance = power / n.occupied * n.symbol_samples / samples.size
        if abs(dc) ** 2 < _DC_EVIDENCE * chance:
            dc = 0j
        # Windows as early as both prefixes allow: paths from a prefix before the strongest on.
        start = detection.start + n.start_samples + prefix
        link = cls(
            source,
            n,
            detection.start,
            start - prefix,
            detection.cfo,
            0.0,
            dc,
            np.arange(-2, 2 * prefix + 3),
            np.ones(2 * prefix + 5),
            1.0,
        )
        training = link.training()
        power = float(np.mean(np.abs(training) ** 2))
        noise = float(np.mean(np.abs(training[0] - training[1]) ** 2)) / 2
        fitted = estimate(
            _training_observations(training, n, np.zeros(TRAINING_PERIODS)),
            link.delays,
            np.full(link.delays.size, power / link.delays.size),
            max(noise, 1e-6 * power),
            n.fft_size,
            1,
        )
        shift = _window_shift(fitted, prefix)
        delays = np.arange(-2, prefix + 3)
        profile = np.full(delays.size, fitted.noise / (TRAINING_PERIODS * n.occupied))
        for delay, share in zip(fitted.delays - shift, fitted.profile, strict=True):
            if 0 <= delay + 2 < delays.size:
                profile[delay + 2] += share
        return replace(
            link,
            first=start - prefix + shift,
            delays=delays,
            profile=profile,
            noise=fitted.noise,
        )

    def grid(self, rows: IntArray) -> ComplexArray:
        """Carriers of consecutive OFDM symbols, complex64 (len(rows), occupied)."""
        parts = [
            self._windows(self.first + part * self.numerology.symbol_samples * (1 + self.clock))
            for part in np.array_split(rows, max(1, rows.size // 512))
            if part.size
        ]
        return np.concatenate(parts)

    def training(self) -> ComplexArray:
        """Carriers of the training's periods, complex64 (2, occupied)."""
        return self._windows(self.first - self._training_back() * (1 + self.clock))

    def training_times(self) -> FloatArray:
        """When the training's periods are, in OFDM symbols."""
        return -self._training_back() / self.numerology.symbol_samples

    def _training_back(self) -> IntArray:
        n = self.numerology
        return n.cyclic_prefix + n.fft_size * np.arange(TRAINING_PERIODS, 0, -1)

    def _windows(self, starts: FloatArray) -> ComplexArray:
        n = self.numerology
        whole = np.round(starts).astype(np.int64)
        low = int(whole[0])
        count = int(whole[-1]) - low + n.fft_size
        samples = self.source.read(low, count)
        if self.offset:
            samples = samples - np.complex64(self.offset)
        turns = self.cfo * (low - self.origin + np.arange(count))
        samples = samples * np.exp(-2j * np.pi * (turns % 1.0)).astype(np.complex64)
        grid = demodulate(samples, whole - low, n)
        fraction = (starts - whole)[:, None] * n.carriers[None, :] / n.fft_size
        return grid * np.exp(2j * np.pi * fraction).astype(np.complex64)


class _KnownGrid:
    """Elements whose value the receiver knows: comb, filling, and what it has decoded."""

    def __init__(self, numerology: Numerology, rows: int, symbols: int) -> None:
        self.numerology = numerology
        width = numerology.data_carriers
        empty = np.zeros(symbols, np.complex64)
        self.values = to_grid(empty, numerology)[:rows]
        index = np.arange(rows)
        self.data = data_columns(numerology, index)
        self.mask = numerology.is_comb(index)
        filling = np.arange(rows * width).reshape(rows, width) >= symbols
        np.put_along_axis(
            self.mask, self.data, np.take_along_axis(self.mask, self.data, 1) | filling, axis=1
        )

    def fill(
        self, first: int, symbols: ComplexArray, mask: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Learn symbols of the frame from number ``first`` on."""
        width = self.numerology.data_carriers
        place = first + (np.arange(symbols.size) if mask is None else np.flatnonzero(mask))
        row = place // width
        column = self.data[row, place % width]
        self.values[row, column] = symbols if mask is None else symbols[mask]
        self.mask[row, column] = True


def _header(link: _Synchronised) -> tuple[Header, _Synchronised]:
    """Decode the header from the first OFDM symbols, with comb and training."""
    n = link.numerology
    rows = np.arange(n.ofdm_symbols(START_SYMBOLS))
    grid = link.grid(rows)
    known = np.zeros_like(grid)
    np.put_along_axis(known, n.comb_columns(rows), comb_values(n, rows), axis=1)
    begin, span = _stretched(float(link.training_times()[0]), rows.size)
    fitted = _fit(link, grid, known, known != 0, rows, begin, span, training=True, max_order=4)
    times = (rows - begin) / span
    variance = fitted.noise + fitted.error_variance(n.carriers, times)
    elements = grid, fitted.response(n.carriers, times), variance
    header = decode_header(_received(*_chosen(data_columns(n, rows), *elements)))
    return header, replace(link, noise=fitted.noise)


def _fit(
    link: _Synchronised,
    grid: ComplexArray,
    known: ComplexArray,
    mask: npt.NDArray[np.bool_],
    rows: IntArray,
    begin: float,
    span: float,
    *,
    training: bool,
    max_order: int,
) -> ChannelEstimate:
    """LMMSE from the known elements of some rows; u = (row - begin) / span."""
    n = link.numerology
    row, column = np.nonzero(mask)
    seen = Observations(
        grid[row, column], known[row, column], n.carriers[column], (rows[row] - begin) / span
    )
    if training:
        times = (link.training_times() - begin) / span
        before = _training_observations(link.training(), n, times)
        both = zip(vars(before).values(), vars(seen).values(), strict=True)
        seen = Observations(*map(np.concatenate, both))
    return estimate(seen, link.delays, link.profile, link.noise, n.fft_size, max_order)


def _track(link: _Synchronised, rows: int, known: _KnownGrid) -> _Synchronised:
    """CFO and clock drift from the increments of the channel from segment to segment.

    The whole frame cannot be searched coherently: with Doppler its end knows nothing of its
    start. From one segment to the next the channel hardly changes, so that the phase and the
    phase slope of Σ H_(s+1) H_s* are the offsets'. Block by block, for the windows move.
    """
    n = link.numerology
    length = max(n.occupied // n.comb // 2, 2)
    segments = rows // length
    if segments < 2:
        return link
    per_block = max(BLOCK_ROWS // length, 2)
    weight_sum, cfo, clock = 0.0, link.cfo, link.clock
    for first in range(0, segments - 1, per_block - 1):
        last = min(first + per_block, segments)
        if last - first < 2:
            break
        index = np.arange(first * length, last * length)
        for _ in range(2 if first == 0 else 1):
            tried = replace(link, cfo=cfo, clock=clock)
            responses = _segments(tried, tried.grid(index), known, index, length)
            phase, delay, weight = _increment(responses, n)
            duration = length * n.symbol_samples * (1 + clock)
            step_cfo = phase / (2 * math.pi) / duration
            step_clock = delay / duration
            if first == 0:
                cfo, clock, weight_sum = cfo + step_cfo, clock + step_clock, weight
            else:
                weight_sum += weight
                share = weight / max(weight_sum, 1e-30)
                cfo, clock = cfo + share * step_cfo, clock + share * step_clock
            clock = min(max(clock, -MAX_CLOCK), MAX_CLOCK)
    return replace(link, cfo=cfo, clock=clock)


def _segments(
    link: _Synchronised, grid: ComplexArray, known: _KnownGrid, rows: IntArray, length: int
) -> ComplexArray:
    """H of each segment, constant within it, complex64 (segments, occupied)."""
    n = link.numerology
    steering = np.exp(-2j * np.pi / n.fft_size * np.outer(n.carriers, link.delays))
    out: list[ComplexArray] = []
    for at in range(0, rows.size, length):
        mask = known.mask[rows[at : at + length]]
        row, column = np.nonzero(mask)
        x = known.values[rows[at : at + length]][row, column]
        y = grid[at : at + length][row, column]
        design = x[:, None] * steering[column]
        system = design.conj().T @ design / link.noise + np.diag(1 / link.profile)
        taps = np.linalg.solve(system, design.conj().T @ y / link.noise)
        out.append((steering @ taps).astype(np.complex64))
    return np.stack(out)


def _increment(responses: ComplexArray, n: Numerology) -> tuple[float, float, float]:
    """Phase (rad), delay (samples) from one segment to the next, and the weight of both."""
    product = (responses[1:] * responses[:-1].conj()).astype(np.complex128).sum(axis=0)
    total = complex(product.sum())
    turned = product * np.exp(-1j * np.angle(total))
    k = n.carriers.astype(np.float64)
    slope = float((k * turned.imag).sum() / max(float((k * k * turned.real).sum()), 1e-30))
    return float(np.angle(total)), -slope * n.fft_size / (2 * math.pi), abs(total)


def _equalise(
    link: _Synchronised, grid: ComplexArray, known: _KnownGrid, count: int
) -> tuple[Received, Diagnostics, float]:
    """Estimate the channel block by block and take out the frame's symbols."""
    rows = grid.shape[0]
    blocks = max(1, -(-rows // BLOCK_ROWS))
    edges = np.linspace(0, rows, blocks + 1).round().astype(np.int64)
    parts: list[list[npt.NDArray[Any]]] = []
    diagnostics: Diagnostics | None = None
    signal = noise = 0.0
    for low, high in pairwise(edges.tolist()):
        begin, stop = max(low - BLOCK_OVERLAP, 0), min(high + BLOCK_OVERLAP, rows)
        index = np.arange(begin, stop)
        y, response, variance, fitted = _equalise_block(link, grid, known, index)
        inner = slice(low - begin, high - begin)
        columns = known.data[low:high]
        parts.append(_chosen(columns, y[inner], response[inner], variance[inner]))
        signal += float(np.sum(np.abs(response[inner]) ** 2))
        noise += fitted.noise * response[inner].size
        if diagnostics is None:
            diagnostics = Diagnostics(y[inner], response[inner], variance[inner], columns)
    assert diagnostics is not None  # a frame has rows
    received = _received(*(np.concatenate(part)[:count] for part in zip(*parts, strict=True)))
    return received, diagnostics, signal / noise


def _equalise_block(
    link: _Synchronised, grid: ComplexArray, known: _KnownGrid, rows: IntArray
) -> tuple[ComplexArray, ComplexArray, npt.NDArray[np.float32], ChannelEstimate]:
    """Elements without common phase, H and σ² of some rows, each (rows, occupied)."""
    n = link.numerology
    low, high = int(rows[0]), int(rows[-1]) + 1
    training = low == 0
    begin, span = _stretched(float(link.training_times()[0]) if training else low, high)
    times = (rows - begin) / span
    y, mask, x = grid[low:high], known.mask[low:high], known.values[low:high]
    max_order = min(MAX_ORDER, max(2, rows.size // 2))

    def fit() -> ChannelEstimate:
        return _fit(link, y, x, mask, rows, begin, span, training=training, max_order=max_order)

    fitted = fit()
    response = fitted.response(n.carriers, times)
    comb = n.is_comb(rows)
    phase_error = np.zeros(rows.size, np.float32)
    for _ in range(2):
        phase, error = common_phase(y, x, response, comb, fitted.noise)
        if phase is None:
            break
        y = y * np.exp(-1j * phase)[:, None].astype(np.complex64)
        phase_error = error
        fitted = fit()
        response = fitted.response(n.carriers, times)
    coarse = fitted.error_variance(n.carriers, times[::_ERROR_STRIDE])
    variance = np.repeat(coarse, _ERROR_STRIDE, axis=0)[: rows.size]
    variance = variance + phase_error[:, None] * np.abs(response) ** 2
    return y, response, (variance + np.float32(fitted.noise)).astype(np.float32), fitted


def _stretched(low: float, high: float) -> tuple[float, float]:
    """Begin and length of the time the cosines live on: all of them are level at its ends.

    So that the channel need not be, the ends lie outside of what is observed.
    """
    margin = EDGE_MARGIN * (high - low)
    return low - margin, high - low + 2 * margin


def _training_observations(
    training: ComplexArray, numerology: Numerology, times: FloatArray
) -> Observations:
    width = numerology.occupied
    return Observations(
        training.reshape(-1),
        np.tile(training_carriers(numerology), TRAINING_PERIODS),
        np.tile(numerology.carriers, TRAINING_PERIODS),
        np.repeat(times, width),
    )


def _window_shift(fitted: ChannelEstimate, prefix: int) -> int:
    """How much later the window may begin, by the delay profile: most power within a prefix.

    Among equals the profile lies in the middle of the prefix, with room on either side.
    """
    shifts = np.arange(0, prefix + 1)
    inside = (fitted.delays[None, :] - shifts[:, None]) / prefix  # 0 to 1 within the prefix
    worth = np.where((inside >= 0) & (inside <= 1), 1 - 0.02 * (2 * inside - 1) ** 2, 0.0)
    return int(shifts[(worth * fitted.profile).sum(axis=1).argmax()])


def _chosen(columns: IntArray, *elements: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The data among some rows' elements, each (n,) in sending order."""
    return [np.take_along_axis(each, columns, 1).reshape(-1) for each in elements]


def _received(
    symbols: ComplexArray, gains: ComplexArray, variances: npt.NDArray[np.float32]
) -> Received:
    deviation = np.sqrt(np.maximum(variances, 1e-30))
    return Received(_tensor(symbols / deviation), _tensor(gains / deviation), 1.0)


def _tensor(values: npt.NDArray[np.complexfloating[Any, Any]]) -> Tensor:
    return torch.from_numpy(values.astype(np.complex64))


def _numpy(values: Tensor) -> ComplexArray:
    return values.detach().cpu().numpy().astype(np.complex64)
