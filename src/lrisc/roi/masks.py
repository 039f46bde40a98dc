"""Where a region of interest comes from: boxes, mask files and detectors."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lrisc.device import CPU
from lrisc.errors import InputError, LriscError
from lrisc.images import read_picture
from lrisc.roi.detectors import Detector, find_detector, is_detector

RoiLike = str | Path | Tensor | Detector | Sequence[str | Path | Detector]

SALIENT = 0.5
"""A detector that is nowhere surer than this has found nothing."""
# Nine digits: more than any picture has pixels a side, and few enough to be a number at once.
_BOX = re.compile(r"\s*,\s*".join([r"(-?[0-9]{1,9})"] * 4))
_NUMBERS = re.compile(r"[\s\d.,+-]+")


def region_mask(roi: RoiLike | None, picture: Tensor, device: torch.device = CPU) -> Tensor | None:
    """The mask a user means.

    Args:
        roi: ``None`` or "none"; a box "x,y,w,h" in pixels; the path of a mask picture of the
            same size (white inside); a detector ("auto", "rembg:u2net", see
            :mod:`lrisc.roi.detectors`) or a function (3, H, W) -> (H, W); several of these (their
            union); or a tensor (H, W).
        picture: (3, H, W) in [0, 1].
        device: where the package's own detector runs.

    Returns:
        (H, W) float32 in [0, 1]; ``None`` without a region, where it is the whole picture, or
        where the detector finds nothing.

    Raises:
        InputError: a box outside the picture, a mask of another size, no such detector.
    """
    if roi is None:
        return None
    height, width = picture.shape[-2:]
    if isinstance(roi, Tensor):
        mask = _from_tensor(roi, height, width, "the mask")
    else:
        parts: Sequence[Any] = [roi]
        if isinstance(roi, Sequence) and not isinstance(roi, str):
            parts = roi
        mask = None
        # One at a time: as many masks as there are parts would not fit into memory.
        for part in parts:
            found = _one(part, picture, device)
            if found is not None:
                mask = found if mask is None else torch.maximum(mask, found)
        if mask is None:
            return None
    # Everything or nothing favoured is nothing favoured.
    if float(mask.max() - mask.min()) < 1e-6:
        return None
    return mask


def _one(roi: Any, picture: Tensor, device: torch.device) -> Tensor | None:
    height, width = picture.shape[-2:]
    if callable(roi):
        return _from_detector(cast(Detector, roi), picture)
    if isinstance(roi, str):
        if roi == "none":
            return None
        if is_detector(roi):
            return _from_detector(find_detector(roi, device), picture)
        box = _BOX.fullmatch(roi.strip())
        if box:
            return _from_box(*(int(v) for v in box.groups()), height=height, width=width)
        if _NUMBERS.fullmatch(roi) and not os.path.exists(roi):
            raise InputError(f"a box is x,y,w,h in whole pixels, not {roi}")
    elif not isinstance(roi, Path):
        raise InputError(
            'a region is the text of a box ("x,y,w,h"), a path, a tensor or a function, not '
            f"{type(roi).__name__}"
        )
    return _from_file(Path(roi), height, width)


def is_box(roi: str) -> bool:
    """Whether a region's text is a box."""
    return bool(_BOX.fullmatch(roi.strip()))


def _from_detector(detect: Detector, picture: Tensor) -> Tensor | None:
    height, width = picture.shape[-2:]
    try:
        found = torch.as_tensor(detect(picture))
    except LriscError:
        raise
    # It is somebody else's function and may fail in any way.
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(f"the detector failed: {type(error).__name__}: {told}") from error
    mask = _from_tensor(found, height, width, "the detector's map")
    return mask if float(mask.max()) >= SALIENT else None


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
    mask = read_picture(path, "mask", background=0, smallest=1).mean(0)
    return _from_tensor(mask, height, width, "the mask")


def _from_tensor(mask: Tensor, height: int, width: int, what: str) -> Tensor:
    if tuple(mask.shape) != (height, width):
        raise InputError(
            f"{what} has {'×'.join(str(s) for s in reversed(mask.shape))} pixels, "
            f"the picture {width}×{height}"
        )
    mask = mask.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(mask).all()) or float(mask.min()) < 0 or float(mask.max()) > 1:
        raise InputError(f"{what} must hold values in [0, 1]")
    return mask
