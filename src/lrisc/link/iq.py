"""A frame as a recording; at one sample a symbol its channel is estimated from it alone."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

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
    pilots,
    preamble,
)
from lrisc.link.recording import DEFAULT_DATATYPE, Annotation, write_samples
from lrisc.link.waveform.numerology import Numerology
from lrisc.link.waveform.source import SampleSource

MAX_SYMBOLS = 1 << 24
"""Symbols of a recording of this kind; the largest frame has half as many."""
# Estimated noise never falls below -50 dB of the signal: a recording that met no channel at all
# has only rounding errors, and a receiver has no use for an infinite SNR.
NOISE_FLOOR = 1e-5


def write_recording(
    path: str | Path,
    samples: Tensor,
    datatype: str = DEFAULT_DATATYPE,
    waveform: Numerology | None = None,
    guard: int = 0,
) -> Path:
    """Write the recording of a frame: NAME.sigmf-meta and NAME.sigmf-data.

    Args:
        path: either file of the pair, or NAME.
        samples: complex64 (n,), n > 0: a frame's symbols at one sample each, or an OFDM waveform.
        datatype: a name in :data:`lrisc.link.recording.DATATYPES`.
        waveform: the OFDM waveform, whose frame is annotated; ``None`` for symbols.
        guard: samples before the frame of an OFDM waveform, and as many behind it.

    Returns:
        Path of the metadata file.
    """
    if samples.dim() != 1 or samples.numel() == 0:
        raise InputError("there are no symbols to record")
    values = samples.detach().to("cpu", torch.complex64).numpy()
    if waveform is None:
        told = "LRISC frame, one sample per symbol"
        return write_samples(path, values, 1.0, told, datatype=datatype, full_scale=False)
    return write_samples(
        path,
        values,
        waveform.sample_rate,
        f"LRISC frame, waveform {waveform.name}",
        annotations=[Annotation(guard, values.size - 2 * guard, waveform.name)],
        datatype=datatype,
    )


def estimate_first_frame(source: SampleSource) -> Received:
    """``estimate_channel`` for a recording of any length that begins with a frame.

    Raises:
        InputError: silence, too few symbols for a frame, or another format.
        OutageError: the header fails its CRC.
    """
    start = torch.from_numpy(source.read(0, min(source.size, START_SYMBOLS)))
    header = _first_header(start)[0]
    if source.size < header.frame_symbols:
        raise InputError(
            f"the recording is cut short: {source.size} symbols of the frame's "
            f"{header.frame_symbols}"
        )
    return estimate_channel(torch.from_numpy(source.read(0, header.frame_symbols)))


def estimate_channel(symbols: Tensor) -> Received:
    """Estimate gain, phase and noise of a constant channel from a recorded frame alone.

    The pilots give a first estimate, with which the header decodes; encoded again, pilots and
    header are a pilot ten times as long, and so is the side information if it decodes. As a frame
    has mean power 1, E|y|^2 = |h|^2 + N0 over all of it, which fixes |h| much better than pilots
    do at high SNR, and helps with N0 at low SNR.

    Args:
        symbols: complex64 (n,), a recording or its beginning.

    Returns:
        The symbols, brought to mean power 1, with one gain throughout and the noise variance.

    Raises:
        InputError: silence, too few symbols for a frame, or another format.
        OutageError: the header fails its CRC.
    """
    header, symbols = _first_header(symbols)
    if symbols.numel() < header.frame_symbols:
        raise InputError(
            f"the recording is cut short: {symbols.numel()} symbols of the frame's "
            f"{header.frame_symbols}"
        )

    frame = symbols[: header.frame_symbols]
    power = float(frame.abs().to(torch.float64).square().mean())
    known = preamble(header)
    second = _estimate(symbols[: known.numel()], known).constrained(power, frame.numel())
    try:
        side_info_bits, _ = parse_body(second.received(symbols), header)
    except OutageError:
        # Still the best estimate there is; whoever needs the side information meets the outage.
        return second.received(symbols)
    known = known_symbols(header, side_info_bits)
    sent = known != 0
    third = _estimate(frame[sent], known[sent]).constrained(power, frame.numel())
    return third.received(symbols)


def _first_header(symbols: Tensor) -> tuple[Header, Tensor]:
    """The header at the start of a recording, by its pilots; the symbols at mean power 1."""
    if symbols.numel() and not bool(symbols.any()):
        raise InputError("the recording is silent and holds no frame")
    symbols = unit_power(symbols)
    # A recording too short for its pilots is for decode_header to reject, under any gain.
    known = pilots()[: symbols.numel()]
    return decode_header(_estimate(symbols[: known.numel()], known).received(symbols)), symbols


def unit_power(symbols: Tensor) -> Tensor:
    """A recording at mean power 1, complex64 (n,): its scale is the recorder's, not the frame's."""
    exact = symbols.to(torch.complex128)
    power = float(exact.abs().square().mean()) if symbols.numel() else 0.0
    return (exact / math.sqrt(power) if power > 0 else exact).to(torch.complex64)


@dataclass(frozen=True)
class _Estimate:
    """Gain and noise variance of y = h x + noise, from ``count`` known symbols of some energy."""

    gain: complex
    noise: float
    count: int
    energy: float

    def constrained(self, power: float, length: int) -> "_Estimate":
        """Use that the frame, ``length`` symbols, came in with mean power |h|^2 + N0."""
        signal = abs(self.gain) ** 2
        # Two estimates of N0, weighted by their variances: the residual over known symbols, and
        # what the signal leaves of the mean power. |gain|^2 is too large by N0/energy on average.
        rest = power - (signal - self.noise / self.energy)
        residual_variance = self.noise**2 / (self.count - 1)
        rest_variance = (
            2 * signal * self.noise * (1 / self.energy + 1 / length) + self.noise**2 / length
        )
        weight = residual_variance / (residual_variance + rest_variance)
        noise = (1 - weight) * self.noise + weight * rest
        noise = min(max(noise, NOISE_FLOOR * power), power)
        magnitude = math.sqrt(max(power - noise, NOISE_FLOOR * power))
        return replace(self, gain=self.gain / max(abs(self.gain), 1e-30) * magnitude, noise=noise)

    def received(self, symbols: Tensor) -> Received:
        return Received(symbols, torch.full_like(symbols, self.gain), self.noise)


def _estimate(symbols: Tensor, known: Tensor) -> _Estimate:
    """Least-squares gain and the unbiased noise variance of what it leaves."""
    y, x = symbols.to(torch.complex128), known.to(torch.complex128)
    energy = max(float(x.abs().square().sum()), 1e-30)
    gain = complex((x.conj() * y).sum() / energy)
    noise = float((y - gain * x).abs().square().sum()) / max(y.numel() - 1, 1)
    power = float(y.abs().square().sum()) / max(y.numel(), 1)
    return _Estimate(gain, max(noise, NOISE_FLOOR * power, 1e-30), y.numel(), energy)
