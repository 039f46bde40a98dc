"""What a sweep is: schemes, conditions, pictures."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrisc.errors import InputError
from lrisc.evaluation.results import Key, key
from lrisc.evaluation.schemes import Options, split_beta
from lrisc.images import load_image, pictures_in, to_pil
from lrisc.link.multipath import Mobility
from lrisc.link.waveform.numerology import SYMBOLS


@dataclass(frozen=True)
class Sweep:
    """What is to be measured.

    Attributes:
        schemes: names, each with its variant and, where beta rules the rate, ``@beta=``.
        snrs_db: mean Es/N0, dB.
        cbrs: ceilings on the bandwidth ratio.
        channel: name of the channel.
        seed: everything random follows from it.
        seeds: how many rows a picture has at a condition, with seeds from ``seed`` upwards.
        options: for the schemes.
        plugins: modules that register more schemes.
        lpips_vgg: measure LPIPS with VGG, too.
        keep: of the first so many pictures, reconstructions and rate maps are kept.
        waveform: see :func:`lrisc.link.ofdm_link.make_link`.
        mobility: of channels with paths.
    """

    schemes: tuple[str, ...]
    snrs_db: tuple[float, ...]
    cbrs: tuple[float, ...]
    channel: str = "awgn"
    seed: int = 0
    seeds: int = 1
    options: Options = field(default_factory=Options)
    plugins: tuple[str, ...] = ()
    lpips_vgg: bool = False
    keep: int = 4
    waveform: str = SYMBOLS
    mobility: Mobility = field(default_factory=Mobility)

    @property
    def lpips_columns(self) -> dict[str, str]:
        """Columns with LPIPS, and their backbones."""
        return {"lpips": "alex"} | ({"lpips_vgg": "vgg"} if self.lpips_vgg else {})

    def settings(self) -> dict[str, Any]:
        """What changes the numbers of all schemes; rows of one folder share it."""
        common: dict[str, Any] = {"lpips_vgg": self.lpips_vgg}
        if self.waveform != SYMBOLS or self.mobility != Mobility():
            common |= {"waveform": self.waveform, **asdict(self.mobility)}
        if self.waveform != SYMBOLS:
            # Up to 0.7 the clip took 0.08 dB from it.
            common["energy"] = "1 after the clip"
        return common

    def keys(self, image: str) -> list[Key]:
        """The rows of one picture, in the order they are computed."""
        return [
            key(scheme, image, self.channel, snr_db, cbr, seed)
            for scheme in self.schemes
            # A fixed beta keeps no ceiling: all symbols there are may be sent.
            for cbr in (self.cbrs if split_beta(scheme)[1] is None else (1.0,))
            for snr_db in self.snrs_db
            for seed in range(self.seed, self.seed + self.seeds)
        ]


@dataclass(frozen=True)
class Source:
    """A picture of the sweep.

    Attributes:
        path: of its file.
        sha256: of its pixels.
        kept: its reconstructions are kept.
    """

    path: Path
    sha256: str
    kept: bool


def find_pictures(folder: Path, limit: int | None, keep: int) -> tuple[list[Source], list[str]]:
    """The pictures of a folder, by name.

    Args:
        folder: not searched any deeper.
        limit: only the first so many that can be read.
        keep: mark the first so many as kept.

    Returns:
        The pictures, and why others were skipped.

    Raises:
        InputError: there is no folder or no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of pictures")
    found: list[Source] = []
    skipped: list[str] = []
    for path in pictures_in(folder):
        if limit is not None and len(found) >= limit:
            break
        try:
            pixels = load_image(path)
        except InputError as error:
            skipped.append(str(error))
            continue
        digest = hashlib.sha256(np.asarray(to_pil(pixels)).tobytes()).hexdigest()[:16]
        found.append(Source(path, digest, kept=len(found) < keep))
    if not found:
        broken = f"; {len(skipped)} cannot be read: {skipped[0]}" if skipped else ""
        raise InputError(f"{folder} holds no pictures{broken}")
    return found, skipped


def seed_of(row_key: Key) -> int:
    """What a row's channel draws from: a function of what the row is, the scheme aside."""
    *condition, seed = row_key[1:]
    text = "|".join([seed, *condition])
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:7])
