"""Forward error correction of header and side information: CRC24A, 5G LDPC, QAM.

    bits ─► equal segments ─► + CRC24A ─► LDPC + rate matching ─► bit interleaver ─► QAM ─► symbols

All coding is Sionna's (CRC: 3GPP TS 38.212 section 5.1; LDPC, rate matching and interleaver:
section 5.3.2 and 5.4.2; constellations: TS 38.211 section 5.1), on the CPU in single precision.
Its blocks are imported on the first block that is coded; the table and ``symbol_count`` need none.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lrisc.errors import InputError, OutageError
from lrisc.link.sionna_blocks import blocks

if TYPE_CHECKING:
    from sionna.phy.fec.crc import CRCDecoder, CRCEncoder
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import Demapper, Mapper

Bits = npt.NDArray[np.uint8]

CRC_BITS = 24
# Information bits per segment. With its CRC a segment stays below the 3824 bits up to which
# TS 38.212 chooses base graph 2, the only one that reaches rate 1/5.
MAX_SEGMENT_BITS = 3800
DECODER_ITERATIONS = 30
# Block lengths, without CRC, for which the thresholds below were measured.
SHORT_BITS, LONG_BITS = 400, 2000
# Up to 292 bits with CRC, TS 38.212 always takes base graph 2, which has an error floor above
# rate 2/3: 64QAM 3/4 still loses one block of 100 bits in 1000 at 19 dB.
BASE_GRAPH_1_BITS = 293 - CRC_BITS


@dataclass(frozen=True)
class Mcs:
    """A modulation and coding scheme.

    Attributes:
        index: position in ``MCS_TABLE``, carried by the header.
        bits_per_symbol: 2 QPSK, 4 16QAM, 6 64QAM.
        rate: code rate as (numerator, denominator).
        min_snr_db: AWGN Es/N0 in dB from which it may be used for blocks of ``LONG_BITS`` bits.
        short_snr_db: the same for blocks of ``SHORT_BITS`` bits.
    """

    index: int
    bits_per_symbol: int
    rate: tuple[int, int]
    min_snr_db: float
    short_snr_db: float

    @property
    def efficiency(self) -> float:
        """Information bits (CRC included) per complex symbol."""
        return self.bits_per_symbol * self.rate[0] / self.rate[1]

    def threshold_db(self, n_bits: int) -> float:
        """AWGN Es/N0 in dB from which blocks of ``n_bits`` bits may use the scheme.

        What a short block loses falls with the root of its length (the normal approximation of
        Polyanskiy, Poor and Verdu, 2010); measurements at 100 bits confirm the extrapolation.
        """
        if self.rate == (3, 4) and n_bits < BASE_GRAPH_1_BITS:
            return math.inf
        inverse = 1.0 / math.sqrt(min(max(n_bits, 1), LONG_BITS) + CRC_BITS)
        long, short = (1.0 / math.sqrt(n + CRC_BITS) for n in (LONG_BITS, SHORT_BITS))
        penalty = self.short_snr_db - self.min_snr_db
        return self.min_snr_db + penalty * (inverse - long) / (short - long)


# Thresholds for 400 bits: lowest SNR on a grid of 0.25 dB at which
# ``baselines.bpg.block_errors`` counts 1e-3 or less over 4000 blocks, plus a margin of 0.5 dB,
# which takes the rate below 1e-4 (a decade costs 0.25 to 0.4 dB). For 2000 bits: 0.75 dB less, as
# measured over 6000 blocks for 16QAM 2/3; the others lost none of 250 (QPSK 1/3: 60) at 0.25 dB
# below. QPSK 1/5 is placed by its 100 bits (3e-3 at -2.25 dB); it serves all lower SNRs anyway.
# An index is part of the frame format: rows stay where they are, whatever their efficiency. Those
# from 9 on came later and fill gaps. They were measured likewise (2000 bits: none of 250 lost, 100
# bits at their threshold: none of 2000), and suit maps of 600 bits and more at -2, 3, 10 and 15 dB:
# on AWGN, and with the margin of 12 dB at 10 and 15 dB.
MCS_TABLE: tuple[Mcs, ...] = (
    Mcs(0, 2, (1, 5), -3.25, -2.5),
    Mcs(1, 2, (1, 3), -0.5, 0.25),
    Mcs(2, 2, (1, 2), 2.0, 2.75),
    Mcs(3, 2, (2, 3), 4.0, 4.75),
    Mcs(4, 4, (1, 2), 7.25, 8.0),
    Mcs(5, 4, (2, 3), 10.0, 10.75),
    Mcs(6, 4, (3, 4), 11.5, 12.25),
    Mcs(7, 6, (2, 3), 15.25, 16.0),
    Mcs(8, 6, (3, 4), 16.75, 17.5),
    Mcs(9, 2, (5, 22), -2.5, -1.75),
    Mcs(10, 2, (4, 11), 0.0, 0.75),
    Mcs(11, 2, (6, 11), 2.5, 3.25),
    Mcs(12, 4, (3, 8), 5.25, 6.0),
    Mcs(13, 4, (5, 8), 9.5, 10.25),
    Mcs(14, 6, (3, 5), 14.0, 14.75),
)
MOST_ROBUST = MCS_TABLE[0]


def mcs_for(snr_db: float, n_bits: int = LONG_BITS) -> Mcs:
    """The scheme with the most bits per symbol that carries ``n_bits`` bits at ``snr_db``.

    Below every threshold it is the most robust one. The thresholds are for AWGN; under fading,
    ask with a lower SNR.
    """
    usable = [mcs for mcs in MCS_TABLE if mcs.threshold_db(n_bits) <= snr_db]
    return max(usable, key=lambda mcs: mcs.efficiency, default=MOST_ROBUST)


def symbol_count(n_bits: int, mcs: Mcs) -> int:
    """Complex symbols that ``encode`` makes of ``n_bits`` bits: exact, and cheap to call."""
    if n_bits == 0:
        return 0
    segments, segment_bits = _segmentation(n_bits)
    return segments * _codeword_bits(segment_bits + CRC_BITS, mcs) // mcs.bits_per_symbol


def encode(bits: Bits, mcs: Mcs) -> Tensor:
    """Protect and modulate bits.

    Args:
        bits: uint8 (n,) of 0 and 1. No bits make no symbols.
        mcs: the scheme.

    Returns:
        complex64 (symbol_count(n, mcs),) from a constellation of unit mean power.
    """
    if bits.size == 0:
        return torch.zeros(0, dtype=torch.complex64)
    segments, segment_bits = _segmentation(bits.size)
    padded = np.zeros(segments * segment_bits, dtype=np.float32)
    padded[: bits.size] = bits
    blocks = torch.from_numpy(padded).reshape(segments, segment_bits)
    return encode_blocks(blocks, mcs).reshape(-1)


def encode_blocks(blocks: Tensor, mcs: Mcs) -> Tensor:
    """Protect and modulate equal blocks: float32 (B, k) of 0 and 1 to complex64 (B, n)."""
    chain = _chain(blocks.shape[1], mcs)
    with torch.no_grad():
        return chain.mapper(chain.encoder(_invert_crc(chain.crc_encoder(blocks))))


def decode(symbols: Tensor, gains: Tensor, n0: float, n_bits: int, mcs: Mcs) -> Bits:
    """Demodulate, decode and check what ``encode`` made.

    Args:
        symbols: complex64 (symbol_count(n_bits, mcs),) as received, y = h x + noise.
        gains: complex64, h of every symbol.
        n0: noise variance.
        n_bits: number of bits sent.
        mcs: the scheme.

    Returns:
        uint8 (n_bits,).

    Raises:
        OutageError: a segment fails its CRC.
    """
    if symbols.numel() != symbol_count(n_bits, mcs) or gains.numel() != symbols.numel():
        raise InputError("the coded block does not have the length that its header announces")
    if n_bits == 0:
        return np.zeros(0, dtype=np.uint8)
    segments, segment_bits = _segmentation(n_bits)
    blocks, valid = decode_blocks(
        symbols.reshape(segments, -1), gains.reshape(segments, -1), n0, segment_bits, mcs
    )
    if not bool(valid.all()):
        raise OutageError("outage: a coded block fails its CRC, the channel is too noisy")
    return blocks.reshape(-1)[:n_bits].numpy().astype(np.uint8)


def decode_blocks(
    symbols: Tensor, gains: Tensor, n0: float, segment_bits: int, mcs: Mcs
) -> tuple[Tensor, Tensor]:
    """Decode a batch of equal blocks without judging it; for ``decode`` and for measurements.

    Args:
        symbols: complex64 (B, n) as received.
        gains: complex64 (B, n).
        n0: noise variance.
        segment_bits: information bits per block, without CRC.
        mcs: the scheme.

    Returns:
        bits float32 (B, segment_bits) and whether each block passed its CRC, bool (B,).
    """
    chain = _chain(segment_bits, mcs)
    power = gains.abs().square().clamp(min=1e-12)
    with torch.no_grad():
        llr = chain.demapper(symbols * gains.conj() / power, n0 / power)
        bits, valid = chain.crc_decoder(_invert_crc(chain.decoder(llr)))
    return bits, valid.reshape(-1)


@dataclass(frozen=True, eq=False)
class _Chain:
    """Sionna's blocks for one block length and scheme."""

    crc_encoder: "CRCEncoder"
    crc_decoder: "CRCDecoder"
    encoder: "LDPC5GEncoder"
    decoder: "LDPC5GDecoder"
    mapper: "Mapper"
    demapper: "Demapper"


# Building the graph of a code takes 0.05 to 0.35 s; a sender uses two or three lengths a picture.
@lru_cache(maxsize=16)
def _chain(segment_bits: int, mcs: Mcs) -> _Chain:
    sionna = blocks()
    # Sionna picks a GPU by itself where there is one; these blocks are too short to gain by it.
    place: dict[str, Any] = {"device": "cpu", "precision": "single"}
    k = segment_bits + CRC_BITS
    m = mcs.bits_per_symbol
    crc = sionna.crc_encoder("CRC24A", k=segment_bits, **place)
    # num_bits_per_symbol switches on the bit interleaver of TS 38.212 section 5.4.2.2, which
    # puts the systematic bits on the well protected positions of a QAM symbol.
    encoder = sionna.ldpc_encoder(k, _codeword_bits(k, mcs), num_bits_per_symbol=m, **place)
    return _Chain(
        crc,
        sionna.crc_decoder(crc, **place),
        encoder,
        sionna.ldpc_decoder(encoder, num_iter=DECODER_ITERATIONS, **place),
        sionna.mapper("qam", m, **place),
        sionna.demapper("app", "qam", m, **place),
    )


def _invert_crc(blocks: Tensor) -> Tensor:
    """Invert the last 24 bits of (B, k), else the all-zero block of a dead channel would pass."""
    return torch.cat([blocks[:, :-CRC_BITS], 1.0 - blocks[:, -CRC_BITS:]], dim=1)


def _segmentation(n_bits: int) -> tuple[int, int]:
    """Number of segments and bits in each; zeros fill the last one."""
    segments = -(-n_bits // MAX_SEGMENT_BITS)
    return segments, -(-n_bits // segments)


def _codeword_bits(k: int, mcs: Mcs) -> int:
    """Coded bits of k bits: whole symbols, rounded down, as Sionna refuses rates below 1/5."""
    numerator, denominator = mcs.rate
    m = mcs.bits_per_symbol
    return k * denominator // (numerator * m) * m
