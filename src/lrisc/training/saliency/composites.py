"""New photographs for the detector: what stands out in one, pasted onto another.

Few photographs have masks, and a small network learns them by heart; pasted together in pairs they
are many, and their masks are known (Ghiasi et al. 2021, "Simple copy-paste").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lrisc.training.saliency.distil import Bytes, MaskedSquares, cut

Floats = npt.NDArray[np.float64]

EXACT_SHARE = 0.3
"""Of what is pasted: cut out with an exact mask, not with a teacher's map."""


class Composer:
    """Makes composites of what two collections hold.

    Args:
        teacher: photographs with a teacher's maps; all backgrounds come from here.
        exact: photographs with exact masks.

    Attributes:
        possible: whether there are backgrounds, and things to paste of either kind.
    """

    def __init__(self, teacher: MaskedSquares, exact: MaskedSquares) -> None:
        self.sources = (teacher, exact)
        self.objects = (clear_objects(teacher.maps), clear_objects(exact.maps))
        self.backgrounds = plain_backgrounds(teacher.maps)
        self.possible = all(map(len, (self.backgrounds, *self.objects)))

    def __call__(self, numbers: Floats, side: int) -> tuple[Bytes, Bytes]:
        """One composite.

        Args:
            numbers: COMPOSITE_DRAWS of them, in [0, 1).
            side: of the picture, pixels.

        Returns:
            The picture (side, side, 3) and its mask (side/4, side/4).
        """
        where, area, left, top, exact, which, *paste = numbers
        teacher = self.sources[0]
        background = self.backgrounds[int(where * len(self.backgrounds))]
        share = (0.3 + 0.7 * area) ** 0.5
        corner = np.array([left, top]) * (1 - share)
        box = np.concatenate([corner, corner + share])
        photo, found = (
            cut(a[background], box, (n, n))
            for a, n in ((teacher.squares, side), (teacher.maps, side // 4))
        )
        kind = int(exact < EXACT_SHARE)
        thing = self.objects[kind][int(which * len(self.objects[kind]))]
        source = self.sources[kind]
        return paste_onto(photo, found, source.squares[thing], source.maps[thing], np.array(paste))


def clear_objects(maps: Bytes) -> npt.NDArray[np.intp]:
    """Which maps show something that can be cut out: all of it certain, from 3 to 50 % of the area.

    Args:
        maps: (n, s, s), 255 where salient.
    """
    shares = np.array([_shares(m) for m in maps], np.float32).reshape(-1, 3)
    salient, undecided, on_border = shares.T
    good = (salient > 0.03) & (salient < 0.5) & (undecided < 0.06) & (on_border < 0.25)
    return np.flatnonzero(good)


def plain_backgrounds(maps: Bytes) -> npt.NDArray[np.intp]:
    """Which maps find next to nothing, at most 8 % of the area.

    Args:
        maps: (n, s, s), 255 where salient.
    """
    return np.flatnonzero(np.array([m.mean() < 0.08 * 255 for m in maps], bool))


def _shares(mask: Bytes) -> tuple[float, float, float]:
    """Shares of a map that are salient, undecided, and of its border that are salient."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    undecided = (mask > 50) & (mask < 205)
    return float(np.mean(mask > 127)), float(undecided.mean()), float(np.mean(border > 127))


def paste_onto(
    background: Bytes, found: Bytes, source: Bytes, mask: Bytes, numbers: Floats
) -> tuple[Bytes, Bytes]:
    """Paste what a mask marks onto a background.

    Args:
        background: (S, S, 3).
        found: (s, s), what is salient in it already.
        source: (T, T, 3), the photograph to cut from.
        mask: (t, t), its mask.
        numbers: seven, in [0, 1): size, shape, place, mirror image, colours.

    Returns:
        The picture (S, S, 3) and its mask (s, s).
    """
    size, stretch, left, top, flip, tone, shade = numbers
    side, small = len(background), len(found)
    rows, columns = (np.flatnonzero((mask > 127).any(axis)) for axis in (1, 0))
    edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(mask)
    wide, tall = edges[2] - edges[0], edges[3] - edges[1]
    # Its longer side takes a quarter to nine tenths of the picture's.
    scale = (0.25 + 0.65 * size) / max(wide, tall)
    width, height = (
        min(max(side * scale * s * e, 8), 0.95 * side)
        for s, e in ((1.2 ** (stretch - 0.5), wide), (1.2 ** (0.5 - stretch), tall))
    )
    width, height = round(width), round(height)
    x, y = round(left * (side - width)), round(top * (side - height))
    photo = cut(source, edges, (width, height)).astype(np.float32)
    alpha = cut(mask, edges, (width, height)).astype(np.float32)[:, :, None] / 255
    if flip < 0.5:
        photo, alpha = photo[:, ::-1], alpha[:, ::-1]
    picture = background.astype(np.float32)
    under = picture[y : y + height, x : x + width]
    if tone < 0.5:  # as if both had been lit alike
        inside = (photo * alpha).sum((0, 1)) / max(float(alpha.sum()), 1.0)
        photo = photo + shade * (picture.mean((0, 1)) - inside)
    under += alpha * (photo - under)
    pasted = np.zeros((side, side), np.float32)
    pasted[y : y + height, x : x + width] = 255 * alpha[:, :, 0]
    shrunk = Image.fromarray(pasted).resize((small, small), Image.Resampling.BOX)
    return (
        picture.clip(0, 255).astype(np.uint8),
        np.maximum(found, np.asarray(shrunk).round().astype(np.uint8)),
    )
