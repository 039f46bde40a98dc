"""How often noise passes for a header: the design's figure, and what measuring bounds it to.

python scripts/false_headers.py --headers 10000
"""

import argparse
import time

import numpy as np
import torch

from lrisc.errors import InputError
from lrisc.link import fec
from lrisc.link.header import HEADER_BITS, HEADER_SYMBOLS, Header

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


def passed(count: int, seed: int) -> int:
    """Of noise through the decoder of headers, how many pass the CRC."""
    generator = torch.Generator().manual_seed(seed)
    found = 0
    for _ in range(0, count, BATCH):
        shape = (BATCH, HEADER_SYMBOLS)
        noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
        gains = torch.randn(shape[0], 1, dtype=torch.complex64, generator=generator).expand(shape)
        # From what the decoder takes for strong signals to what it takes for weak ones.
        n0 = float(10 ** (torch.rand((), generator=generator) * 3 - 2))
        _, valid = fec.decode_blocks(noise, gains.contiguous(), n0, HEADER_BITS, fec.MOST_ROBUST)
        found += int(valid.sum())
    return found


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
    found = passed(count, options.seed)
    # Rule of three: with 95 % confidence less than this, where none was found.
    print(f"noise through the decoder: {found} of {count:,} passed the CRC, so with 95 % less than")
    print(f"  {(found + 3) / count:.2g} pass it, and {(found + 3) / count * share:.2g} are taken")
    print(f"  ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    main()
