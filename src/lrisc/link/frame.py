"""The frame that goes over the air, and how the receiver takes it apart.

    | pilots | header            | body = interleaved(side information | payload)        |
    | 32     | QPSK 1/5, CRC24A  | MCS of the header, CRC24A           | f_e's symbols   |

The receiver knows the pilots and the header's format, and learns everything else from the header.
The whole frame has mean power 1.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lrisc.errors import InputError, OutageError, finite
from lrisc.link import fec
from lrisc.link.budget import SymbolCounts
from lrisc.link.channels import Received
from lrisc.link.header import (
    HEADER_BITS,
    HEADER_SYMBOLS,
    PILOT_SYMBOLS,
    VERSION,
    Header,
    rate_scale_to_index,
)

__all__ = [
    "HEADER_BITS",
    "HEADER_SYMBOLS",
    "PILOT_SYMBOLS",
    "START_SYMBOLS",
    "VERSION",
    "Frame",
    "Header",
    "build_frame",
    "decode_header",
    "known_symbols",
    "parse_body",
    "parse_header",
    "pilots",
    "preamble",
    "rate_scale_to_index",
]

Bits = npt.NDArray[np.uint8]

START_SYMBOLS = PILOT_SYMBOLS + HEADER_SYMBOLS
"""Symbols from the start of a frame to the end of its header."""

# The first 64 fractional bits of pi, two to a QPSK symbol: nothing up the sleeve.
_PILOT_BITS = 0x243F6A8885A308D3


@dataclass(frozen=True, eq=False)
class Frame:
    """Symbols ready for the channel, with their accounting; only ``symbols`` are transmitted.

    Attributes:
        symbols: complex64 (n,), mean power 1.
        counts: what the n symbols are for.
        height, width: of the picture in pixels, without padding.
        rate_map: integer (h, w), complex symbols per embedding.
        snr_db: the SNR the transmitter designed for.
    """

    symbols: Tensor
    counts: SymbolCounts
    height: int
    width: int
    rate_map: npt.NDArray[Any]
    snr_db: float

    @property
    def cbr_payload(self) -> float:
        """Payload symbols / (3 H W): what the papers call CBR."""
        return self.counts.payload / (3 * self.height * self.width)

    @property
    def cbr(self) -> float:
        """All symbols / (3 H W)."""
        return self.symbols.numel() / (3 * self.height * self.width)

    @classmethod
    def assemble(
        cls,
        header: Header,
        side_info_bits: Bits,
        payload: Tensor,
        rate_map: npt.NDArray[Any],
        snr_db: float,
    ) -> "Frame":
        """``build_frame`` with its accounting."""
        return cls(
            symbols=build_frame(header, side_info_bits, payload),
            counts=header.counts,
            height=header.height,
            width=header.width,
            rate_map=rate_map,
            snr_db=snr_db,
        )


def pilots() -> Tensor:
    """The known start of every frame: complex64 (PILOT_SYMBOLS,) of unit-power QPSK."""
    bits = [(_PILOT_BITS >> shift) & 1 for shift in range(2 * PILOT_SYMBOLS - 1, -1, -1)]
    signs = (1.0 - 2.0 * torch.tensor(bits, dtype=torch.float32)).reshape(-1, 2)
    return torch.view_as_complex(signs.contiguous()) / math.sqrt(2.0)


def preamble(header: Header) -> Tensor:
    """Pilots and coded header, complex64 (PILOT_SYMBOLS + HEADER_SYMBOLS,)."""
    return torch.cat([pilots(), fec.encode(header.pack(), fec.MOST_ROBUST)])


def build_frame(header: Header, side_info_bits: Bits, payload: Tensor) -> Tensor:
    """Put a frame together.

    Args:
        header: must announce exactly what follows, at least one bit and one symbol.
        side_info_bits: uint8 (header.side_info_bits,).
        payload: complex64 (header.payload_symbols,), of any power but 0.

    Returns:
        complex64 (header.frame_symbols,) of mean power 1.
    """
    if side_info_bits.size != header.side_info_bits or payload.shape != (header.payload_symbols,):
        raise InputError("the header announces another length than the frame's body has")
    if not (header.side_info_bits and header.payload_symbols):
        raise InputError("a frame carries at least one bit of rate map and one payload symbol")
    payload = payload.detach().to("cpu", torch.complex64)
    power = float(payload.abs().to(torch.float64).square().mean())
    if not (math.isfinite(power) and power > 0):
        raise InputError("the payload has no finite, positive power")
    payload = payload / math.sqrt(power)
    return _arrange(header, fec.encode(side_info_bits, header.mcs), payload)


def known_symbols(header: Header, side_info_bits: Bits) -> Tensor:
    """A frame with zeros for its payload: what a receiver that decoded it can use as pilots."""
    side_info = fec.encode(side_info_bits, header.mcs)
    return _arrange(header, side_info, torch.zeros(header.payload_symbols, dtype=torch.complex64))


def parse_header(received: Received) -> Header:
    """Decode the header of a whole frame.

    Raises:
        InputError: no or too few symbols, samples not finite, or not our format.
        OutageError: the header fails its CRC.
    """
    header = decode_header(received)
    n = received.symbols.numel()
    if n < header.frame_symbols:
        raise InputError(
            f"the recording is cut short: {n} symbols of the frame's {header.frame_symbols}"
        )
    return header


def decode_header(received: Received) -> Header:
    """Decode the header from a frame's first symbols; it says how many more there are.

    Args:
        received: at least the first START_SYMBOLS symbols; only those are used.

    Raises:
        InputError: too few symbols, samples not finite, or not our format.
        OutageError: the header fails its CRC.
    """
    n = received.symbols.numel()
    if n == 0:
        raise InputError("the recording is empty and holds no frame")
    if n < START_SYMBOLS:
        raise InputError(
            f"the recording is cut short: {n} symbols, "
            f"but pilots and header alone take {START_SYMBOLS}"
        )
    if not bool(torch.isfinite(torch.view_as_real(received.symbols)).all()):
        raise InputError("the recording holds samples that are not finite numbers")
    if finite(received.noise_variance, "the noise variance") <= 0:
        raise InputError("the noise variance must be positive")
    part = slice(PILOT_SYMBOLS, START_SYMBOLS)
    try:
        bits = fec.decode(
            received.symbols[part],
            received.gains[part],
            received.noise_variance,
            HEADER_BITS,
            fec.MOST_ROBUST,
        )
    except OutageError as error:
        raise OutageError(
            "outage: the header fails its CRC; the channel is too noisy, or this is not a frame"
        ) from error
    return Header.unpack(bits)


def parse_body(received: Received, header: Header) -> tuple[Bits, Received]:
    """Decode the side information and take out the payload.

    Args:
        received: the whole frame; symbols beyond its end are ignored.
        header: from ``parse_header``.

    Returns:
        side information bits, uint8 (side_info_bits,); the payload's (payload_symbols,) with
        gains from unit power, so that equalised it is on the JSCC encoder's scale.

    Raises:
        OutageError: the side information fails its CRC, or there is none, or no payload.
    """
    if not (header.side_info_bits and header.payload_symbols):
        # Without a rate map there is no CRC either, and a picture of any size would be invented.
        missing = "payload" if header.side_info_bits else "rate map"
        raise OutageError(f"outage: the frame carries no {missing}, so there is no picture in it")
    body = slice(START_SYMBOLS, header.frame_symbols)
    inverse = torch.argsort(interleaver(header.counts.body))
    symbols, gains = received.symbols[body][inverse], received.gains[body][inverse]
    side = header.counts.side_info
    n0 = received.noise_variance
    try:
        bits = fec.decode(symbols[:side], gains[:side], n0, header.side_info_bits, header.mcs)
    except OutageError as error:
        raise OutageError(
            "outage: the rate map fails its CRC; the channel is noisier than it was sent for"
        ) from error
    # The scale of the frame depends only on what is decoded by now, so the frame need not tell it.
    payload_gains = gains[side:] * _scale(header, fec.encode(bits, header.mcs))
    return bits, Received(symbols[side:], payload_gains, n0)


def _arrange(header: Header, side_info: Tensor, payload: Tensor) -> Tensor:
    """The frame of coded side information and unit-power payload."""
    body = torch.cat([side_info, payload])[interleaver(header.counts.body)]
    return torch.cat([preamble(header), body]) * _scale(header, side_info)


def _scale(header: Header, side_info: Tensor) -> float:
    """Factor that brings a frame to mean power 1.

    Pilots, header (QPSK) and payload have mean power 1 by themselves; 16QAM and 64QAM symbols of
    the side information only on average, so the factor differs from 1 by less than a percent.
    """
    energy = float(side_info.abs().to(torch.float64).square().sum())
    total = header.frame_symbols
    return math.sqrt(total / (total - header.counts.side_info + energy))


def interleaver(length: int) -> Tensor:
    """Fixed permutation of the body, int64 (length,): position i carries symbol perm[i].

    Symbol j goes to position j * step mod length with step next to the golden section of the
    length: neighbours land far apart and any run spreads evenly over the frame and its fades.
    """
    step = max(1, round(length * (math.sqrt(5.0) - 1.0) / 2.0))
    while math.gcd(step, max(length, 1)) != 1:
        step += 1
    return torch.argsort(torch.arange(length, dtype=torch.int64) * step % max(length, 1))
