"""Masks of regions of interest made offline, by any detector, as v2 of the paper does."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lrisc.errors import InputError, one_line
from lrisc.training.data.sources import SUFFIXES

logger = logging.getLogger(__name__)

_REMEDY = "put masks into subfolders as the photographs are, one for each"


class MaskFolder:
    """Mask pictures (white inside) named as the photographs they belong to.

    A photograph ``x/b/1.jpg`` has the mask ``b/1.png``, or else ``1.png``, or else the only one of
    that name in any subfolder.

    Args:
        folder: searched with its subfolders.

    Raises:
        InputError: there is no folder, or no picture in it.
    """

    def __init__(self, folder: str) -> None:
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise InputError(f"roi.masks: {root} is not a folder of masks")
        files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"roi.masks: {root} holds no mask pictures")
        self._folder = root
        self._exact: dict[tuple[str, ...], list[Path]] = {}
        self._named: dict[str, list[Path]] = {}
        for path in files:
            self._exact.setdefault(_parts(path.relative_to(root)), []).append(path)
            self._named.setdefault(path.stem, []).append(path)
        digest = hashlib.sha256()
        for path in files:
            stat = path.stat()
            # A name need not be text.
            digest.update(os.fsencode(path.relative_to(root)))
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        self.key = digest.hexdigest()

    def _found(self, place: str) -> list[Path]:
        """Masks that may be a photograph's; :meth:`check` refuses more than one."""
        parts = _parts(Path(place))
        tails = (self._exact.get(parts[start:], []) for start in range(len(parts)))
        return next(filter(None, tails), self._named.get(parts[-1], []))

    def read(self, place: str, size: tuple[int, int]) -> Image.Image:
        """The mask of a photograph, 8-bit grey of its (width, height).

        Black where there is none: training takes a random region then.

        Args:
            place: path of the photograph, on disk or in its shard.
            size: of the photograph.
        """
        found = self._found(place)
        if not found:
            return Image.new("L", size)
        with Image.open(found[0]) as opened:
            mask = opened.convert("L")
        return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)

    def check(self, places: Sequence[str]) -> None:
        """Say how many photographs have no mask.

        Raises:
            InputError: none has one, or it is not clear which is whose.
        """
        of: dict[Path, str] = {}
        missing = 0
        for place in places:
            found = self._found(place)
            if len(found) > 1:
                what = f"{found[0]} and {found[1]} could both be of {place}"
                raise InputError(one_line(f"roi.masks: {what}: {_REMEDY}"))
            if not found:
                missing += 1
            elif of.setdefault(found[0], place) != place:
                what = f"{found[0]} would be of both {of[found[0]]} and {place}"
                raise InputError(one_line(f"roi.masks: {what}: {_REMEDY}"))
        if missing == len(places):
            raise InputError(f"roi.masks: no mask in {self._folder} is named as a picture of data")
        if missing:
            logger.warning(
                "%d of %d pictures have no mask in %s: their regions are random",
                *(missing, len(places), self._folder),
            )


def _parts(path: Path) -> tuple[str, ...]:
    """Of a path, without the suffix."""
    return (*path.parts[:-1], path.stem)
