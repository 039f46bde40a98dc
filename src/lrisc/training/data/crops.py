"""Crops of stored squares and of photographs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.sources import decoded, list_pictures, read_pictures
from lrisc.training.data.squares import Squares


def centre_crops(paths: tuple[str, ...], count: int, side: int) -> Squares:
    """Centre crops at the pictures' own scale, for validation.

    Returns:
        (n, side, side, 3) uint8, n at most ``count``.

    Raises:
        InputError: no picture is usable.
    """
    crops: list[Squares] = []
    for encoded in read_pictures(list_pictures(paths)):
        if len(crops) == count:
            break
        try:
            picture = decoded(encoded.raw or b"")
        except Exception:  # as above: any broken picture is passed over
            continue
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        if min(left, top) >= 0:
            crops.append(np.asarray(picture.crop((left, top, left + side, top + side))))
    if not crops:
        raise InputError(f"validation: no picture of at least {side} pixels a side in {paths[0]}")
    return np.stack(crops)


CROP_NUMBERS = 6
"""Random numbers of a crop: which picture, downscale or not, by how much, top, left, flip."""


def crop_batch(squares: Squares, draws: Draws, data: DataConfig) -> Tensor:
    """Random crops, flips and downscales of stored squares, a pure function of the draws.

    Args:
        squares: (n, side, side, C) uint8.
        draws: of the samples wanted, on the CPU.
        data: the crop's side and how often to downscale.

    Returns:
        (B, C, crop, crop) uint8, channels last in memory.
    """
    numbers = draws.uniform("crops", (CROP_NUMBERS,)).double().numpy()
    cuts = [cut_crop(squares[int(row[0] * len(squares))], row, data) for row in numbers]
    return torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2)


def cut_crop(picture: Squares, numbers: npt.NDArray[np.float64], data: DataConfig) -> Squares:
    """One crop.

    Args:
        picture: (height, width, C) uint8, both sides at least a crop's.
        numbers: uniform in [0, 1), see :data:`CROP_NUMBERS`.
        data: the crop's side and how often to downscale.

    Returns:
        (crop, crop, C) uint8.
    """
    height, width, channels = picture.shape
    crop, (_, down, factor, top, left, flip) = data.crop, numbers
    most = min(height, width) // crop
    times = 1
    if most > 1 and down < data.downscale_fraction:
        times = 2 + int(factor * (most - 1))
    window = crop * times
    row, column = int(top * (height - window + 1)), int(left * (width - window + 1))
    cut = picture[row : row + window, column : column + window]
    if times > 1:
        sums = cut.reshape(crop, times, crop, times, channels).sum((1, 3), dtype=np.uint32)
        cut = ((sums + times * times // 2) // (times * times)).astype(np.uint8)
    return cut[:, ::-1] if flip < 0.5 else cut


def signals(
    squares: Squares, size: int, device: torch.device | str = "cpu", side: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Stored squares in batches, in their order.

    Args:
        squares: (n, S, S, 3) uint8.
        size: of a batch.
        device: where the batches are wanted.
        side: of the corner that is taken; ``None``: all of it.

    Yields:
        Which they are, and (B, 3, side, side) float32 in [-1, 1].
    """
    for start in range(0, len(squares), size):
        chosen = slice(start, min(start + size, len(squares)))
        raw = torch.from_numpy(np.array(squares[chosen, :side, :side]))
        yield chosen, to_signal(raw.permute(0, 3, 1, 2).to(device))


def to_signal(pictures: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1], same shape and memory format."""
    return pictures.float().div_(127.5).sub_(1)
