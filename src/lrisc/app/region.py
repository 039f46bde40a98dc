"""The region a user paints or types, as :func:`lrisc.transmit` takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.roi.masks import RoiLike

PAINTED, FOUND, BOXES = "Painted", "Found automatically", "Boxes"
REGIONS = (PAINTED, FOUND, BOXES)

MAX_BOXES, MAX_BOXES_TEXT = 32, 1000
"""Boxes there may be, and characters of the text they are typed in."""

# Nine digits: more than any picture has pixels a side, and few enough to be a number at once.
_BOX = re.compile(r"-?[0-9]{1,9},-?[0-9]{1,9},-?[0-9]{1,9},-?[0-9]{1,9}")


def chosen_region(
    region: str, layers: Sequence[Image.Image], boxes: str, size: tuple[int, int]
) -> RoiLike | None:
    """What the page's controls mean.

    Args:
        region: one of :data:`REGIONS`.
        layers: what was painted, RGBA or how opaque it is (L), each over the whole picture.
        boxes: what was typed.
        size: width and height of the picture that is sent.

    Returns:
        The ``roi`` argument of :func:`lrisc.transmit`; ``None`` where nothing is painted.
    """
    if region == FOUND:
        return "auto"
    if region == BOXES:
        return parse_boxes(boxes)
    mask = painted_mask(layers, size)
    return None if mask is None else torch.from_numpy(mask)


def painted_mask(layers: Sequence[Image.Image], size: tuple[int, int]) -> np.ndarray | None:
    """Where there is paint: float32 (H, W) of 0 and 1, or ``None`` without any."""
    mask = np.zeros((size[1], size[0]), dtype=np.float32)
    for layer in layers:
        alpha = layer if layer.mode == "L" else layer.convert("RGBA").getchannel("A")
        mask = np.maximum(mask, np.asarray(alpha.resize(size, Image.Resampling.BILINEAR)) > 0)
    return mask if mask.any() else None


def parse_boxes(text: str) -> list[str]:
    """Boxes ``x,y,w,h`` in pixels, several separated by spaces or semicolons.

    Raises:
        InputError: there is none, or something else. (A visitor of the page must not name files
            of the machine it runs on, so nothing else reaches the mask reader.)
    """
    if len(text) > MAX_BOXES_TEXT:
        raise InputError(f"the boxes take more than {MAX_BOXES_TEXT} characters")
    parts = re.sub(r"\s*,\s*", ",", text).replace(";", " ").split()
    wrong = [part for part in parts if not _BOX.fullmatch(part)]
    if wrong or not parts:
        what = f"'{wrong[0]}' is no box" if wrong else "no box is given"
        raise InputError(
            f"{what}: write x,y,w,h in pixels of the picture sent, such as 40,30,64,64"
        )
    if len(parts) > MAX_BOXES:
        raise InputError(f"at most {MAX_BOXES} boxes are possible, not {len(parts)}")
    return parts
