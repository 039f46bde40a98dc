"""Crops of stored squares and of photographs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.config.schema import DataConfig, PictureStage
from lrisc.training.data.sources import list_pictures, read_pictures
from lrisc.training.data.squares import MIN_PICTURES, Pictures, Squares, open_pictures


@dataclass(frozen=True)
class PictureData:
    """Pictures to train on and to validate with, see :class:`lrisc.training.tasks.base.Data`.

    Attributes:
        pictures: all of them.
        squares: those to train on, (n, S, S, 3) uint8.
        held_out: those to validate with, (m, side, side, 3) uint8.
        crops: how squares become crops.
    """

    pictures: Pictures
    squares: Squares
    held_out: Squares
    crops: DataConfig

    def __len__(self) -> int:
        """Pictures of an epoch."""
        return len(self.squares)

    def batch(self, draws: Draws, fraction: float) -> tuple[Tensor, ...]:
        """Crops (B, 3, crop, crop) uint8, whatever the fraction of the stage that is done."""
        return (crop_batch(self.squares, draws, self.crops),)

    def facts(self) -> dict[str, Any]:
        """For the record of a stage."""
        return {
            "data": self.pictures.name,
            "pictures": len(self.pictures),
            "pictures_skipped": self.pictures.skipped,
        }

    @property
    def key(self) -> str:
        """Hash of the content's listing."""
        return self.pictures.key


def open_picture_data(config: PictureStage) -> PictureData:
    """Decode the pictures of a stage if needed, and keep some for validation.

    Raises:
        InputError: they cannot be used, or are too few.
    """
    pictures = open_pictures(config.data, config.crops, max(MIN_PICTURES, config.batch_size))
    side, squares = config.validate.side, pictures.squares
    if config.validation:
        held = centre_crops((config.validation,), config.validate.pictures, side)
        return PictureData(pictures, squares, held, config.crops)
    count = min(config.crops.held_out, len(pictures) // 4)
    train, held = squares[: len(pictures) - count], squares[-count:]
    inner = config.crops.crop if held.shape[1] < side else side
    edge = (held.shape[1] - inner) // 2
    cut = slice(edge, edge + inner)
    return PictureData(pictures, train, held[: config.validate.pictures, cut, cut], config.crops)


def centre_crops(paths: tuple[str, ...], count: int, side: int) -> Squares:
    """Centre crops at the pictures' own scale, for validation.

    Returns:
        (n, side, side, 3) uint8, n at most ``count``.

    Raises:
        InputError: no picture is usable.
    """
    crops: list[Squares] = []
    for _, raw in read_pictures(list_pictures(paths)):
        if len(crops) == count:
            break
        try:
            with Image.open(io.BytesIO(raw or b"")) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except Exception:  # as above: any broken picture is passed over
            continue
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        if min(left, top) >= 0:
            crops.append(np.asarray(picture.crop((left, top, left + side, top + side))))
    if not crops:
        raise InputError(f"validation: no picture of at least {side} pixels a side in {paths[0]}")
    return np.stack(crops)


def crop_batch(squares: Squares, draws: Draws, data: DataConfig) -> Tensor:
    """Random crops, flips and downscales, a pure function of the draws.

    Args:
        squares: (n, side, side, 3) uint8.
        draws: of the samples wanted, on the CPU.
        data: the crop's side and how often to downscale.

    Returns:
        (B, 3, crop, crop) uint8, channels last in memory.
    """
    side, crop = squares.shape[1], data.crop
    batch = np.empty((len(draws), crop, crop, 3), np.uint8)
    numbers = draws.uniform("crops", (6,)).double().numpy()
    for i, (which, down, factor, top, left, flip) in enumerate(numbers):
        square = squares[int(which * len(squares))]
        most = side // crop
        times = 1
        if most > 1 and down < data.downscale_fraction:
            times = 2 + int(factor * (most - 1))
        window = crop * times
        row, column = int(top * (side - window + 1)), int(left * (side - window + 1))
        cut = square[row : row + window, column : column + window]
        if times > 1:
            sums = cut.reshape(crop, times, crop, times, 3).sum((1, 3), dtype=np.uint32)
            cut = (sums + times * times // 2) // (times * times)
        batch[i] = cut[:, ::-1] if flip < 0.5 else cut
    return torch.from_numpy(batch).permute(0, 3, 1, 2)


def to_signal(pictures: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1], same shape and memory format."""
    return pictures.float().div_(127.5).sub_(1)
