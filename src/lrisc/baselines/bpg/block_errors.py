"""Measures the block-error tables of BPG + LDPC with the real chain.

    python -m lrisc.baselines.bpg.block_errors OUT.json [--blocks 100] [--channel awgn rayleigh]

Per scheme and channel: down to an SNR where every block is lost, then up in steps of 0.25 dB until
none of ``--blocks`` is. Takes some ten minutes on one core; a file that is there already is
completed. On ``rayleigh`` every symbol has a fade of its own: the limit of an interleaver over the
whole picture, with the fades known to the receiver.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from lrisc.baselines.bpg.ldpc import BLOCK_BITS, SCHEMES, name_of, segment_bits
from lrisc.errors import InputError
from lrisc.files import write_atomically
from lrisc.link import fec
from lrisc.link.channels import CHANNELS, awgn, noise_variance
from lrisc.registry import add_plugin_option, import_plugins

logger = logging.getLogger(__name__)

STEP_DB = 0.25
# More errors than this say enough about a point of the waterfall.
ENOUGH_ERRORS = 10
_BATCH = 10
# So many in a row lost are taken for all.
_LOST_IN_A_ROW = 5


def count_errors(
    mcs: fec.Mcs,
    channel: str,
    snr_db: float,
    blocks: int,
    seed: int = 0,
    block_bits: int | None = None,
) -> tuple[int, int]:
    """Send codewords until ``blocks`` are through or enough are lost.

    Args:
        mcs: the scheme.
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: mean Es/N0 in dB.
        blocks: how many to send at most.
        seed: of bits, fades and noise.
        block_bits: information bits per codeword, without CRC; default: those of the baseline.

    Returns:
        Codewords sent, and how many of them came out wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    n0 = noise_variance(snr_db)
    size = segment_bits(mcs) if block_bits is None else block_bits
    sent = wrong = 0
    while sent < blocks and wrong < ENOUGH_ERRORS:
        shape = (min(_BATCH, blocks - sent), size)
        bits = torch.randint(0, 2, shape, generator=generator).to(torch.float32)
        symbols = fec.encode_blocks(bits, mcs)
        gains = CHANNELS[channel].gains(symbols.numel(), 1, generator).reshape(symbols.shape)
        received = awgn(gains * symbols, snr_db, generator)
        decoded, _ = fec.decode_blocks(received, gains, n0, size, mcs)
        wrong += int((decoded != bits).any(dim=1).sum())
        sent += shape[0]
    return sent, wrong


def measure(mcs: fec.Mcs, channel: str, blocks: int) -> list[tuple[float, int, int]]:
    """The waterfall of a scheme: (SNR in dB, blocks sent, blocks lost), the last without loss."""
    few = _LOST_IN_A_ROW
    snr_db = mcs.min_snr_db - 1.25
    while count_errors(mcs, channel, snr_db + 1, few)[1] == few:
        snr_db += 1
    while count_errors(mcs, channel, snr_db, few)[1] < few:
        snr_db -= 0.5
    points = [(snr_db, few, few)]
    while points[-1][2] > 0:
        snr_db += STEP_DB
        points.append((snr_db, *count_errors(mcs, channel, snr_db, blocks)))
    logger.info("%s %s: %s", channel, name_of(mcs), points)
    return points


def main() -> int:
    """Measure what the file does not hold yet; it is saved after every curve."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.baselines.bpg.block_errors")
    parser.add_argument("out", type=Path)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument(
        "--channel",
        nargs="+",
        default=["awgn", "rayleigh"],
        help="those whose symbols fade one by one, or not at all; the default: awgn rayleigh",
    )
    add_plugin_option(parser)
    arguments = parser.parse_args()
    try:
        import_plugins(arguments.plugin)
        channels = [CHANNELS.key(name) for name in arguments.channel]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table: dict[str, Any] = {
        "about": "5G LDPC + CRC24A + QAM, [Es/N0 in dB, blocks sent, blocks lost] per scheme; "
        "made by python -m lrisc.baselines.bpg.block_errors",
        "block_bits": BLOCK_BITS,
        "decoder_iterations": fec.DECODER_ITERATIONS,
        "channels": {},
    }
    if arguments.out.exists():
        table = json.loads(arguments.out.read_text())
    for channel in channels:
        curves = table["channels"].setdefault(channel, {})
        for mcs in SCHEMES:
            if name_of(mcs) not in curves:
                curves[name_of(mcs)] = measure(mcs, channel, arguments.blocks)
                write_atomically(arguments.out, (json.dumps(table) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
