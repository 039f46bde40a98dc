"""Where a region of interest comes from: boxes and mask files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lrisc.errors import InputError
from lrisc.images import read_picture

RoiLike = str | Path | Tensor | Sequence[str | Path]
_BOX = re.compile(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*")


def region_mask(roi: RoiLike | None, height: int, width: int) -> Tensor | None:
    """The mask a user means.

    Args:
        roi: ``None`` or "none"; a box "x,y,w,h" in pixels; the path of a mask picture of the
            same size (white inside); several of these (their union); or a tensor (H, W).
        height: of the picture, pixels.
        width: of the picture, pixels.

    Returns:
        (H, W) float32 in [0, 1]; ``None`` without a region or where it is the whole picture.

    Raises:
        InputError: a box outside the picture, a mask of another size, "auto".
    """
    if roi is None:
        return None
    if isinstance(roi, Tensor):
        mask = _from_tensor(roi, height, width)
    else:
        parts = [roi] if isinstance(roi, str | Path) else list(roi)
        masks = [_one(part, height, width) for part in parts]
        found = [mask for mask in masks if mask is not None]
        if not found:
            return None
        mask = torch.stack(found).amax(0)
    # Everything or nothing favoured is nothing favoured.
    if float(mask.max() - mask.min()) < 1e-6:
        return None
    return mask


def _one(roi: str | Path, height: int, width: int) -> Tensor | None:
    if isinstance(roi, str):
        if roi == "none":
            return None
        if roi == "auto":
            raise InputError(
                "roi auto: this version has no detector yet; give a box x,y,w,h or a mask file"
            )
        box = _BOX.fullmatch(roi)
        if box:
            return _from_box(*(int(v) for v in box.groups()), height=height, width=width)
    return _from_file(Path(roi), height, width)


def _from_box(x: int, y: int, w: int, h: int, *, height: int, width: int) -> Tensor:
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
        raise InputError(
            f"the box {x},{y},{w},{h} (x,y,w,h) does not lie in the picture of {width}×{height}"
        )
    mask = torch.zeros(height, width)
    mask[y : y + h, x : x + w] = 1
    return mask


def _from_file(path: Path, height: int, width: int) -> Tensor:
    # Transparent is outside.
    return _from_tensor(read_picture(path, "mask", background=0).mean(0), height, width)


def _from_tensor(mask: Tensor, height: int, width: int) -> Tensor:
    if tuple(mask.shape) != (height, width):
        raise InputError(
            f"the mask has {'×'.join(str(s) for s in reversed(mask.shape))} pixels, "
            f"the picture {width}×{height}"
        )
    mask = mask.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(mask).all()) or float(mask.min()) < 0 or float(mask.max()) > 1:
        raise InputError("a mask holds values in [0, 1]")
    return mask
