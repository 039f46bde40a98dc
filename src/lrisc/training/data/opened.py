"""What a stage trains on: one object, whether pictures are decoded once or for every crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lrisc.link.draws import Draws
from lrisc.training.config.schema import LriscStage, PictureStage
from lrisc.training.data.crops import centre_crops, crop_batch
from lrisc.training.data.photographs import Photographs, open_photographs, photographs_key
from lrisc.training.data.squares import MIN_PICTURES, Squares, open_pictures, pictures_key

_SQUARES = 512
"""Squares taken from photographs for what is fitted to them."""


@dataclass(frozen=True)
class TrainingData:
    """Pictures of a stage, see :class:`lrisc.training.tasks.base.Data`.

    Attributes:
        crops: (step, samples of the joint batch) -> (B, 3 or 4, crop, crop) uint8, the fourth
            channel being the mask; a pure function.
        count: squares, or photographs, that crops come from: an epoch.
        squares: (n, side, side, 3) uint8 of them, for what is fitted to pictures.
        held_out: (n, side, side, 3) uint8 for validation.
        name: of the source, for the model card.
        key: hash of the content's listing.
        skipped: pictures that were corrupt or too small.
    """

    crops: Callable[[int, range], Tensor]
    count: int
    squares: Squares
    held_out: Squares
    name: str
    key: str
    skipped: int

    def __len__(self) -> int:
        """Pictures of an epoch."""
        return self.count

    def batch(self, step: int, samples: range, fraction: float) -> tuple[Tensor, ...]:
        """The crops of a step, whatever the fraction of the stage that is done."""
        return (self.crops(step, samples),)

    def facts(self) -> dict[str, Any]:
        """For the record of a stage."""
        return {
            "data": self.name,
            "pictures": self.count,
            "pictures_skipped": self.skipped,
        }


def open_data(config: PictureStage) -> TrainingData:
    """Open a stage's pictures, after decoding them or reading their headers if needed.

    Raises:
        InputError: nothing is there, or too few pictures are usable.
    """
    least = max(MIN_PICTURES, config.batch_size)
    if config.crops.decode == "always":
        return _from_photographs(
            open_photographs(config.data, config.crops, _masks(config), least), config
        )
    pictures = open_pictures(config.data, config.crops, least, _masks(config))
    held = 0 if config.validation else _held_out(config, len(pictures))
    squares = pictures.squares[: len(pictures) - held]

    def crops(step: int, samples: range) -> Tensor:
        return crop_batch(squares, Draws(config.draw_seed, step, samples), config.crops)

    return TrainingData(
        crops=crops,
        count=len(squares),
        squares=squares[..., :3],
        held_out=_validation(config, pictures.squares[len(squares) :, ..., :3]),
        name=pictures.name,
        key=pictures.key,
        skipped=pictures.skipped,
    )


def data_key(config: PictureStage) -> str:
    """The ``key`` that :func:`open_data` would give, without decoding a picture.

    Raises:
        InputError: a path does not exist or cannot be used.
    """
    if config.crops.decode == "always":
        return photographs_key(config.data, config.crops, _masks(config))
    return pictures_key(config.data, config.crops, _masks(config))


def _from_photographs(found: Photographs, config: PictureStage) -> TrainingData:
    held = 0 if config.validation else _held_out(config, len(found))
    kept = found.without(held)
    side, last = config.crops.crop, range(len(kept), len(found))
    own = found.squares(last, side)[..., :3] if held else np.empty((0, side, side, 3), np.uint8)
    spread = np.linspace(0, len(kept) - 1, min(len(kept), _SQUARES)).astype(int).tolist()

    def crops(step: int, samples: range) -> Tensor:
        first = step * config.batch_size + samples.start
        return kept.crops(first, Draws(config.draw_seed, step, samples), config.draw_seed)

    return TrainingData(
        crops=crops,
        count=len(kept),
        squares=found.squares(spread, side)[..., :3],
        held_out=_validation(config, own),
        name=found.name,
        key=found.key,
        skipped=found.skipped,
    )


def _masks(config: PictureStage) -> str:
    return config.roi.masks if isinstance(config, LriscStage) else ""


def _held_out(config: PictureStage, count: int) -> int:
    return min(config.crops.held_out, count // 4)


def _validation(config: PictureStage, own: Squares) -> Squares:
    """Centre crops of the validation folder, or of the squares that were held out."""
    side, most = config.validate.side, config.validate.pictures
    if config.validation:
        return centre_crops((config.validation,), most, side)
    multiple = config.crops.crop if own.shape[1] < side else side
    edge = (own.shape[1] - multiple) // 2
    inner = slice(edge, edge + multiple)
    return own[:most, inner, inner]
