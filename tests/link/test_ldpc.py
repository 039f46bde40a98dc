"""LDPC, QAM and CRC of the package against Sionna's, bit for bit and error for error."""

from typing import Any

import numpy as np
import pytest
import torch
from sionna.phy.fec.crc import CRCEncoder
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper, Mapper

from lrisc.link import fec, qam
from lrisc.link.channels import awgn

PLACE: dict[str, Any] = {"device": "cpu", "precision": "single"}
SCHEMES = [pytest.param(mcs, id=f"{mcs.bits_per_symbol}b-{mcs.rate}") for mcs in fec.MCS_TABLE]
# About every limit of the standard's choices of base graph and lifting size.
LENGTHS = (1, 37, 100, 168, 169, 268, 269, 400, 536, 537, 616, 617, 1000, 2000, 3799, 3800)


class Reference:
    """The chain of :mod:`lrisc.link.fec`, of Sionna's blocks."""

    def __init__(self, n_bits: int, mcs: fec.Mcs) -> None:
        m, (numerator, denominator) = mcs.bits_per_symbol, mcs.rate
        k = n_bits + 24
        self.crc = CRCEncoder("CRC24A", k=n_bits, **PLACE)
        self.encoder = LDPC5GEncoder(
            k, k * denominator // (numerator * m) * m, num_bits_per_symbol=m, **PLACE
        )
        self.decoder = LDPC5GDecoder(self.encoder, num_iter=fec.DECODER_ITERATIONS, **PLACE)
        self.mapper = Mapper("qam", m, **PLACE)
        self.demapper = Demapper("app", "qam", m, **PLACE)

    def encode(self, blocks: torch.Tensor) -> torch.Tensor:
        protected = self.crc(blocks)
        protected[:, -24:] = 1 - protected[:, -24:]
        return self.mapper(self.encoder(protected))

    def decode(self, symbols: torch.Tensor, n0: float) -> torch.Tensor:
        return self.decoder(self.demapper(symbols, torch.tensor(n0)))[:, :-24]


def blocks_of(n_bits: int, count: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(n_bits)
    return torch.from_numpy(rng.integers(0, 2, (count, n_bits)).astype(np.float32))


@pytest.mark.parametrize("mcs", SCHEMES)
def test_the_encoder_is_the_standard_s_bit_for_bit(mcs: fec.Mcs) -> None:
    for n_bits in LENGTHS:
        blocks = blocks_of(n_bits)
        ours, theirs = fec.encode_blocks(blocks, mcs), Reference(n_bits, mcs).encode(blocks)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6, msg=f"{n_bits} bits")


@pytest.mark.parametrize("m", [2, 4, 6])
def test_soft_bits_are_exact(m: int) -> None:
    sent = qam.modulate(blocks_of(60 * m), m)
    symbols = awgn(sent, 3.0, torch.Generator().manual_seed(m))
    ours = qam.soft_bits(symbols, 0.5, m)
    theirs = -Demapper("app", "qam", m, **PLACE)(symbols, torch.tensor(0.5))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mcs", SCHEMES)
def test_the_decoder_loses_no_more_blocks(mcs: fec.Mcs) -> None:
    """On the slope of the waterfall, where a few blocks of a hundred are lost."""
    n_bits, count = 400, 100
    snr_db = mcs.short_snr_db - 1.0
    blocks, reference = blocks_of(n_bits, count), Reference(n_bits, mcs)
    symbols = awgn(fec.encode_blocks(blocks, mcs), snr_db, torch.Generator().manual_seed(1))
    n0 = 10 ** (-snr_db / 10)
    ours, valid = fec.decode_blocks(symbols, torch.ones_like(symbols), n0, n_bits, mcs)
    wrong = (ours != blocks).any(dim=1)
    theirs = (reference.decode(symbols, n0) != blocks).any(dim=1)
    assert torch.equal(valid, ~wrong)
    assert int(wrong.sum()) <= int(theirs.sum()) + 1
    assert int(theirs.sum()) > 0 or mcs.index > 0
