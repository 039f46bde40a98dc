"""What the detector learns from: a teacher's maps of many photographs, exact masks of few."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.data.sources import list_pictures
from lrisc.training.saliency.measure import masked_photographs

SIDE = 256
"""Pixels a side of the stored squares."""

Bytes = npt.NDArray[np.uint8]
COMPOSITE_DRAWS = 13
"""Uniform numbers one composite takes."""
Composes = Callable[[npt.NDArray[np.float64], int], tuple[Bytes, Bytes]]
"""Numbers in [0, 1) and a side in; a picture and its mask of a quarter of the side out."""


@dataclass(frozen=True)
class MaskedSquares:
    """Photographs and where they are salient.

    Attributes:
        squares: (n, S, S, 3) uint8.
        maps: (n, s, s) uint8, 255 where salient.
    """

    squares: Bytes
    maps: Bytes

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self.maps)


def open_teacher(squares: Path, maps: Path) -> MaskedSquares:
    """Squares of the picture cache with the maps of tools/saliency/teacher_maps.py.

    Rows the teacher has not finished yet are left out.

    Raises:
        InputError: a file is missing or they do not fit together.
    """
    try:
        pictures = np.load(squares, mmap_mode="r", allow_pickle=False)
        found = np.load(maps, mmap_mode="r", allow_pickle=False)
        done = int(maps.with_suffix(".done").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {squares} and {maps}: {error}") from error
    if pictures.ndim != 4 or found.ndim != 3 or len(found) > len(pictures):
        raise InputError(f"{maps} {found.shape} does not fit {squares} {pictures.shape}")
    return MaskedSquares(pictures[:done], found[:done])


def read_masked(folder: Path) -> MaskedSquares:
    """Photographs with exact masks, both stretched to squares.

    Args:
        folder: see :func:`lrisc.training.saliency.measure.masked_photographs`.
    """
    squares: list[Bytes] = []
    maps: list[Bytes] = []
    for photo, mask in masked_photographs(folder):
        with Image.open(photo) as picture:
            small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            squares.append(np.asarray(small))
        with Image.open(mask) as picture:
            small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
            maps.append(np.asarray(small))
    return MaskedSquares(np.stack(squares), np.stack(maps))


def masks_key(masks: str, data: tuple[str, ...], maps: str) -> str:
    """Changes when the photographs with masks do, or the teacher's squares or maps are others.

    Args:
        masks: folder of photographs with masks.
        data: files of squares.
        maps: file of the teacher's maps; more of its rows may be finished.

    Raises:
        InputError: a path does not exist.
    """
    names = [Path(file).name for file in (*data, maps)]
    return hashlib.sha256(f"{list_pictures((masks,)).key} {names}".encode()).hexdigest()


@dataclass(frozen=True)
class Shares:
    """Where the crops of a batch come from; the rest has a teacher's maps.

    Attributes:
        exact: with exact masks.
        composite: pasted together, see `lrisc.training.saliency.composites`.
    """

    exact: float
    composite: float = 0.0


def training_batch(
    teacher: MaskedSquares,
    exact: MaskedSquares,
    shares: Shares,
    draws: Draws,
    side: int,
    compose: Composes | None = None,
) -> tuple[Tensor, Tensor]:
    """Cropped, flipped and recoloured photographs, a pure function of the draws.

    Args:
        teacher: photographs with a teacher's maps; may be empty.
        exact: photographs with exact masks.
        shares: of the batch.
        draws: of the samples wanted.
        side: of the crops, pixels.
        compose: makes composites; needed where ``shares`` ask for them.

    Returns:
        Pictures (B, 3, side, side) in [0, 1] and targets (B, 1, side/4, side/4) in [0, 1].
    """
    numbers = draws.uniform("saliency crops", (7,)).double().numpy()
    pasted = draws.uniform("saliency composites", (COMPOSITE_DRAWS + 1,)).double().numpy()
    pictures = np.empty((len(draws), side, side, 3), np.uint8)
    targets = np.empty((len(draws), side // 4, side // 4), np.uint8)
    for i, (source, which, area, aspect, left, top, flip) in enumerate(numbers):
        if compose is not None and pasted[i, 0] < shares.composite:
            pictures[i], targets[i] = compose(pasted[i, 1:], side)
            continue
        data = exact if source < shares.exact or not len(teacher) else teacher
        index = int(which * len(data))
        stretch = 1.3 ** (aspect - 0.5)
        # As shares of the square; from a third of the picture to all of it.
        width, height = (min((0.35 + 0.65 * area) ** 0.5 * s, 1.0) for s in (stretch, 1 / stretch))
        x, y = left * (1 - width), top * (1 - height)
        box = np.array([x, y, x + width, y + height])
        photo, mask = (
            cut(a[index], box, (n, n)) for a, n in ((data.squares, side), (data.maps, side // 4))
        )
        pictures[i] = photo[:, ::-1] if flip < 0.5 else photo
        targets[i] = mask[:, ::-1] if flip < 0.5 else mask
    colours = _recolour(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, draws)
    return colours, torch.from_numpy(targets)[:, None].float() / 255


def cut(pixels: Bytes, box: npt.NDArray[np.float64], size: tuple[int, int]) -> Bytes:
    """Part of a square, resized.

    Args:
        pixels: (S, S) or (S, S, 3).
        box: left, top, right and bottom, as shares of S.
        size: width and height wanted.
    """
    edges: tuple[float, float, float, float] = tuple((box * pixels.shape[0]).tolist())
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, edges, reducing_gap=1.0))


def _recolour(pictures: Tensor, draws: Draws) -> Tensor:
    """Brightness, contrast and saturation times 0.6 to 1.4, each primary colour 0.85 to 1.15."""
    numbers = draws.uniform("saliency colours", (6,))[:, :, None, None, None]
    brightness, contrast, saturation = (0.6 + 0.8 * numbers[:, :3]).unbind(1)
    primaries = (0.85 + 0.3 * numbers[:, 3:]).flatten(2).unsqueeze(-1)
    pictures = pictures * brightness * primaries
    middle = pictures.mean((1, 2, 3), keepdim=True)
    pictures = middle + contrast * (pictures - middle)
    grey = pictures.mean(1, keepdim=True)
    return (grey + saturation * (pictures - grey)).clamp(0, 1)


def saliency_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus the soft intersection over union, mean over pictures.

    Args:
        logits: (B, 1, h, w).
        targets: same shape, in [0, 1].
    """
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets)
    found = logits.sigmoid()
    common = (found * targets).sum((1, 2, 3))
    either = (found + targets - found * targets).sum((1, 2, 3))
    # A picture without anything salient has no union to speak of.
    return entropy + 1 - ((common + 1) / (either + 1)).mean()
