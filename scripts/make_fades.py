"""Draws the channels of the table that training's ``selective`` fading comes from, with Sionna.

    python scripts/make_fades.py src/lrisc/link/drawn_fades.npz

TDL-A to TDL-D in turn, delay spread 10 to 300 ns (log-uniform), speed 0 to 8.3 m/s at 3.5 GHz,
sampled at 16 times over the 18 ms that a frame of 768×512 at CBR 1/48 takes. Deterministic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lrisc.link.multipath import Mobility, draw

REALISATIONS, TIMES, DURATION = 192, 16, 18e-3
PROFILES = ("tdl-a", "tdl-b", "tdl-c", "tdl-d")


def mobility(number: int) -> Mobility:
    """Delay spread and speed of a realisation."""
    rng = np.random.default_rng([number, 0x66616465])
    low, high = np.log(10e-9), np.log(300e-9)
    return Mobility(float(np.exp(rng.uniform(low, high))), float(rng.uniform(0, 8.3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    path: Path = parser.parse_args().output
    times = np.linspace(0, DURATION, TIMES)
    drawn = [
        draw(PROFILES[i % len(PROFILES)], mobility(i), DURATION, i) for i in range(REALISATIONS)
    ]
    most = max(one.delays.size for one in drawn)
    gains = np.zeros((REALISATIONS, TIMES, most), np.complex128)
    delays = np.zeros((REALISATIONS, most))
    for i, one in enumerate(drawn):
        gains[i, :, : one.delays.size] = one.at(times)
        delays[i, : one.delays.size] = one.delays
    # All together, never one by one: that would take the fades out.
    gains /= np.sqrt(np.mean(np.sum(np.abs(gains) ** 2, axis=2)))
    parts = np.stack([gains.real, gains.imag], axis=-1).astype(np.float16)
    with path.open("wb") as file:
        np.savez_compressed(file, gains=parts, delays=delays.astype(np.float32))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
