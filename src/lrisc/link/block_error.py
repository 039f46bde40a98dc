"""Block error rate of the coded link, measured with the real chain.

The thresholds in ``fec.MCS_TABLE`` come from here. Slow: 5 to 150 ms a block and core.
"""

import torch

from lrisc.link import fec
from lrisc.link.channels import awgn, noise_variance


def block_error_rate(
    mcs: fec.Mcs,
    segment_bits: int,
    snr_db: float,
    blocks: int,
    generator: torch.Generator,
    batch: int = 100,
) -> float:
    """Share of blocks with a wrong bit over AWGN.

    Args:
        mcs: the scheme.
        segment_bits: information bits per block, without CRC.
        snr_db: Es/N0 in dB.
        blocks: how many to send.
        generator: source of bits and noise.
        batch: blocks decoded together.

    Example:
        >>> mcs = fec.MCS_TABLE[0]
        >>> block_error_rate(mcs, 100, 5.0, 10, torch.Generator().manual_seed(0))
        0.0
    """
    wrong = 0
    for start in range(0, blocks, batch):
        size = (min(batch, blocks - start), segment_bits)
        sent = torch.randint(0, 2, size, generator=generator).to(torch.float32)
        received = awgn(fec.encode_blocks(sent, mcs), snr_db, generator)
        decoded, _ = fec.decode_blocks(
            received, torch.ones_like(received), noise_variance(snr_db), segment_bits, mcs
        )
        wrong += int((decoded != sent).any(dim=1).sum())
    return wrong / blocks
