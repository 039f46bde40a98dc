"""Large pictures are refined tile by tile, so that memory does not grow with the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

WHOLE = 64 * 64
"""Embeddings, 16×16 pixels each, of a picture that is refined in one piece."""
CORE = 48
"""The longest side of a tile without its margin, in embeddings."""


@dataclass(frozen=True)
class Tile:
    """A part of the latent grid and what it stands for, all in embeddings.

    Attributes:
        top, bottom, left, right: what is decoded, the margin included.
        core: (top, bottom, left, right) of the part that counts; cores share out the grid.
    """

    top: int
    bottom: int
    left: int
    right: int
    core: tuple[int, int, int, int]


def tiles(height: int, width: int, window: int) -> list[Tile]:
    """Share out a latent grid.

    Tiles begin at multiples of f_d's attention window, so that its windows are those of the whole
    picture, and overlap by one window on every side.

    Args:
        height: of the grid, embeddings.
        width: of the grid, embeddings.
        window: side of an attention window, embeddings.

    Returns:
        One tile without a margin for a small picture; otherwise tiles whose cores share out the
        grid.
    """
    if height * width <= WHOLE:
        return [Tile(0, height, 0, width, (0, height, 0, width))]
    return [
        Tile(
            max(top - window, 0),
            min(bottom + window, height),
            max(left - window, 0),
            min(right + window, width),
            (top, bottom, left, right),
        )
        for top, bottom in _cuts(height, window)
        for left, right in _cuts(width, window)
    ]


def _cuts(length: int, window: int) -> list[tuple[int, int]]:
    """Intervals of nearly one length, at most CORE, that begin at multiples of the window."""
    windows = math.ceil(length / window)
    parts = math.ceil(windows / (CORE // window))
    edges = [windows * part // parts * window for part in range(parts)]
    return list(zip(edges, [*edges[1:], length], strict=True))
