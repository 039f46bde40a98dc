"""Frequency-selective fading from a table of drawn 3GPP channels, for training above all.

The table (``drawn_fades.npz``, made by ``scripts/make_fades.py`` with Sionna) holds paths of
realisations of TDL-A to TDL-D at random delay spreads and speeds. So training needs no Sionna,
costs next to nothing a picture, and repeats to the bit.

An OFDM waveform puts a picture's symbols on places all over the frame, in time and on carriers
(:func:`lrisc.link.waveform.modulator.data_columns`). A crop is a small piece of a picture: its
symbols meet as many random places of the grid.
"""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from lrisc.link.waveform.numerology import PRESETS

TABLE_FILE = "drawn_fades.npz"
_WAVEFORM = PRESETS["ofdm"]


@lru_cache(maxsize=1)
def table() -> tuple[Tensor, Tensor]:
    """The realisations.

    Returns:
        Gains of the paths at some times of a frame, complex64 (N, T, P), mean power over all
        realisations 1; and their delays in seconds, float64 (N, P).
    """
    data = (files("lrisc.link") / TABLE_FILE).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        parts = stored["gains"].astype(np.float32)
        delays = stored["delays"].astype(np.float64)
    return torch.view_as_complex(torch.from_numpy(parts)), torch.from_numpy(delays)


def responses(which: int) -> Tensor:
    """H of a realisation on the occupied carriers of the waveform ``ofdm``.

    Args:
        which: its number, from 0.

    Returns:
        complex64 (T, occupied).
    """
    gains, delays = table()
    frequencies = torch.from_numpy(_WAVEFORM.carriers * _WAVEFORM.spacing)
    turns = delays[which][:, None] * frequencies[None, :]
    return gains[which] @ torch.exp(-2j * torch.pi * turns).to(torch.complex64)


def selective_gains(length: int, block_length: int, generator: torch.Generator) -> Tensor:
    """Gains of symbols that an OFDM waveform has spread over a frame.

    Args:
        length: number of symbols n.
        block_length: without effect; how fast H changes is the realisation's.
        generator: picks the realisation and the places of the grid.

    Returns:
        complex64 (n,), E[|h|^2] = 1 over realisations.
    """
    count = table()[0].shape[0]
    grid = responses(int(torch.randint(0, count, (1,), generator=generator))).flatten()
    return grid[torch.randint(0, grid.numel(), (length,), generator=generator)]
