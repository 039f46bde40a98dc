"""Masks of regions of interest made offline, by any detector, as v2 of the paper does."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from lrisc.errors import InputError
from lrisc.training.data.sources import SUFFIXES

logger = logging.getLogger(__name__)


class MaskFolder:
    """Mask pictures (white inside) named as the photographs they belong to.

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
        self._files = {path.stem: path for path in files}
        digest = hashlib.sha256()
        for path in files:
            stat = path.stat()
            digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        self.key = digest.hexdigest()

    def read(self, name: str, size: tuple[int, int]) -> Image.Image:
        """The mask of a photograph, 8-bit grey of its (width, height).

        Black where there is none: training takes a random region then.
        """
        path = self._files.get(Path(name).stem)
        if path is None:
            return Image.new("L", size)
        with Image.open(path) as opened:
            mask = opened.convert("L")
        return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)

    def check(self, names: Iterable[str]) -> None:
        """Say how many photographs have no mask.

        Raises:
            InputError: none has one.
        """
        has = [Path(name).stem in self._files for name in names]
        missing = len(has) - sum(has)
        if missing == len(has):
            raise InputError(f"roi.masks: no mask in {self._folder} is named as a picture of data")
        if missing:
            logger.warning(
                "%d of %d pictures have no mask in %s: their regions are random",
                *(missing, len(has), self._folder),
            )
