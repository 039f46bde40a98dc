"""How often noise passes for a header: the design's figure, and what measuring bounds it to.

python scripts/false_headers.py --headers 10000
"""

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link import fec
from lrisc.link.header import HEADER_BITS, HEADER_SYMBOLS, PILOT_SYMBOLS, Header

BATCH = 500


def admitted(count: int, rng: np.random.Generator) -> int:
    """Of random headers, how many describe a possible picture."""
    good = 0
    for bits in rng.integers(0, 2, (count, HEADER_BITS), dtype=np.uint8):
        try:
            Header.unpack(bits)
            good += 1
        except InputError:
            pass
    return good


def wrong_checks(count: int, seed: int) -> Tensor:
    """Of noise through the decoder of headers, which bits of the CRC are wrong, bool (count, 24).

    In every other batch gain and noise variance are those that a receiver estimates from pilots
    which are noise, too; else anything, from what it takes for strong signals to weak ones.
    """
    generator = torch.Generator().manual_seed(seed)
    chain = fec._chain(HEADER_BITS, fec.MOST_ROBUST)  # pyright: ignore[reportPrivateUsage]
    wrong: list[Tensor] = []
    for batch in range(count // BATCH):
        shape = (BATCH, HEADER_SYMBOLS)
        noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
        gains = torch.randn(BATCH, 1, dtype=torch.complex64, generator=generator).expand(shape)
        if batch % 2:
            gains, n0 = gains / PILOT_SYMBOLS**0.5, 1.0
        else:
            n0 = float(10 ** (torch.rand((), generator=generator) * 3 - 2))
        power = gains.abs().square().clamp(min=1e-12)
        with torch.no_grad():
            bits = chain.decoder(chain.demapper(noise * gains.conj() / power, n0 / power))
            due = chain.crc_encoder(bits[:, :HEADER_BITS])[:, HEADER_BITS:]
        # A frame's CRC is inverted.
        wrong.append(due == bits[:, HEADER_BITS:])
    return torch.cat(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--headers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random = 200_000
    share = admitted(random, np.random.default_rng(options.seed)) / random
    print(f"random headers that describe a possible picture: {share:.5f} of {random:,}")
    print(f"design: 2^-{fec.CRC_BITS} × {share:.5f} = {2**-fec.CRC_BITS * share:.2g}")
    begun = time.monotonic()
    count = -(-options.headers // BATCH) * BATCH
    wrong = wrong_checks(count, options.seed)
    found = int((~wrong.any(1)).sum())
    # Rule of three: with 95 % confidence less than this, where none was found.
    print(f"noise through the decoder: {found} of {count:,} passed the CRC, so with 95 % less than")
    print(f"  {(found + 3) / count:.2g} do")
    for width in (8, 12):
        right = [int((~part.any(1)).sum()) for part in wrong.split(width, 1)]
        print(
            f"parts of {width} bits of the CRC were right in {', '.join(map(str, right))} of "
            f"{count:,}; 2^-{width} of them are {count / 2**width:.1f}"
        )
    print(f"({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    main()
