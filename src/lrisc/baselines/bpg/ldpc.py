"""Modulation and 5G LDPC for whole pictures: lengths, block-error tables, choice of the scheme.

    payload bits ─► equal segments ─► + CRC24A ─► LDPC (6144 coded bits) ─► QAM ─► symbols

The code is the one of :mod:`lrisc.link.fec`, with codewords of 6144 coded bits as the published
BPG + LDPC curves use them. Decoding runs at tens of kbit/s, so a sweep looks block errors up in
``block_errors.json``, which ``python -m lrisc.baselines.bpg.block_errors`` measures with the real
chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link import fec
from lrisc.link.channels import Received
from lrisc.link.frame import interleaver

BLOCK_BITS = 6144
"""Coded bits per codeword."""
TABLE_FILE = "block_errors.json"
MARGIN_DB = 0.5
"""On top of the SNR from which the measurement lost no codeword: takes the error rate, which falls
tenfold in about 0.25 dB, from a few per cent to a few in 10,000."""

_QAM = {2: "qpsk", 4: "16qam", 6: "64qam", 8: "256qam"}

# The link's own schemes and two more, without which nothing would be gained above 17 dB. No header
# carries these two, whose SNRs only tell the measurement where to begin.
SCHEMES: tuple[fec.Mcs, ...] = (
    *fec.MCS_TABLE,
    fec.Mcs(16, 6, (5, 6), 18.5, 19.25),
    fec.Mcs(17, 8, (2, 3), 20.0, 20.75),
)


def name_of(mcs: fec.Mcs) -> str:
    """Name of a scheme, such as ``16qam-2/3``."""
    return f"{_QAM[mcs.bits_per_symbol]}-{mcs.rate[0]}/{mcs.rate[1]}"


def by_name(name: str) -> fec.Mcs:
    """The scheme of that name.

    Raises:
        InputError: there is none.
    """
    for mcs in SCHEMES:
        if name_of(mcs) == name.lower():
            return mcs
    names = ", ".join(name_of(mcs) for mcs in SCHEMES)
    raise InputError(f"no modulation and coding scheme '{name}'; choose one of {names}")


class BelowAllSchemesError(InputError):
    """The channel is too noisy for the most robust scheme."""


def segment_bits(mcs: fec.Mcs) -> int:
    """Payload bits, without CRC, of a codeword of ``BLOCK_BITS`` coded bits."""
    return BLOCK_BITS * mcs.rate[0] // mcs.rate[1] - fec.CRC_BITS


def block_count(n_bits: int, mcs: fec.Mcs) -> int:
    """Codewords that ``n_bits`` payload bits take."""
    return -(-n_bits // segment_bits(mcs))


def symbol_count(n_bits: int, mcs: fec.Mcs) -> int:
    """Complex symbols that ``n_bits`` payload bits take, in codewords of equal length."""
    blocks = block_count(n_bits, mcs)
    if blocks == 0:
        return 0
    bits = -(-n_bits // blocks) + fec.CRC_BITS
    return blocks * (bits * mcs.rate[1] // (mcs.rate[0] * mcs.bits_per_symbol))


@dataclass(frozen=True)
class Curve:
    """Block error rate of one scheme on one channel.

    Attributes:
        snr_db: rising; below the first every block is lost.
        rate: block error rate at each, the last one 0.
    """

    snr_db: tuple[float, ...]
    rate: tuple[float, ...]

    @property
    def threshold_db(self) -> float:
        """From here on a sender may count on the scheme."""
        return self.snr_db[-1] + MARGIN_DB

    def at(self, snr_db: float) -> float:
        """Block error rate at an SNR, linear between the measured points."""
        return float(np.interp(snr_db, self.snr_db, self.rate, left=1.0))


def channels() -> list[str]:
    """Channels that there are tables for."""
    return list(_table())


def curve(mcs: fec.Mcs, channel: str) -> Curve:
    """The measured curve of a scheme.

    Raises:
        InputError: the tables do not have the channel.
    """
    curves = _table().get(channel)
    if curves is None:
        raise InputError(
            f"there are no block-error tables for the channel '{channel}', "
            f"only for {', '.join(_table())}"
        )
    if name_of(mcs) not in curves:
        raise InputError(
            f"the block-error tables lack {name_of(mcs)} on {channel}; "
            "complete them with python -m lrisc.baselines.bpg.block_errors"
        )
    return curves[name_of(mcs)]


def best_scheme(channel: str, snr_db: float) -> fec.Mcs:
    """The scheme with most bits per symbol of those that decode at this SNR.

    Raises:
        InputError: even the most robust one loses blocks.
    """
    usable = [mcs for mcs in SCHEMES if curve(mcs, channel).threshold_db <= snr_db]
    if not usable:
        raise BelowAllSchemesError(
            f"no modulation and coding scheme decodes at {snr_db:g} dB on {channel}"
        )
    return max(usable, key=lambda mcs: mcs.efficiency)


def survives(n_bits: int, mcs: fec.Mcs, link: Callable[[Tensor], Received], seed: int) -> bool:
    """Whether so many payload bits come through a channel, by the real chain.

    Symbols of all codewords are interleaved, so that a fade takes a little from each.

    Raises:
        OutageError: the receiver of a waveform finds nothing.
    """
    blocks = block_count(n_bits, mcs)
    bits = -(-n_bits // blocks)
    generator = torch.Generator().manual_seed(seed)
    sent = torch.randint(0, 2, (blocks, bits), generator=generator).to(torch.float32)
    symbols = fec.encode_blocks(sent, mcs)
    order = interleaver(symbols.numel())
    received = link(symbols.reshape(-1)[order])
    back = torch.argsort(order)
    decoded, valid = fec.decode_blocks(
        received.symbols[back].reshape(symbols.shape),
        received.gains[back].reshape(symbols.shape),
        received.noise_variance,
        bits,
        mcs,
    )
    return bool(valid.all()) and bool((decoded == sent).all())


def table_text() -> str:
    """The tables as they are shipped."""
    return (files("lrisc.baselines.bpg") / TABLE_FILE).read_text()


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Curve]]:
    data = json.loads(table_text())
    return {
        channel: {
            name: Curve(
                snr_db=tuple(point[0] for point in points),
                rate=tuple(point[2] / point[1] for point in points),
            )
            for name, points in curves.items()
        }
        for channel, curves in data["channels"].items()
    }
