"""Pictures from folders, COCO layouts and tar shards, one after the other."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from lrisc.errors import InputError
from lrisc.files import check_regular
from lrisc.images import MAX_FILE_BYTES

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"))
_COCO_TRAIN = ("train2017", "train2014", "images/train2017", "images/train2014")


@dataclass(frozen=True)
class Listing:
    """What a set of paths holds, without having decoded any of it.

    Attributes:
        files: picture files, sorted.
        shards: tar files, sorted.
        key: hash of names, sizes and times, which changes when the pictures may have.
    """

    files: tuple[Path, ...]
    shards: tuple[Path, ...]
    key: str


def list_pictures(paths: tuple[str, ...]) -> Listing:
    """Find pictures and tar shards.

    A folder is searched with its subfolders; one in COCO layout (it has ``train2017`` or the
    like) gives its training pictures only.

    Raises:
        InputError: a path does not exist or is neither a folder nor a tar file.
    """
    files: list[Path] = []
    shards: list[Path] = []
    digest = hashlib.sha256()
    for text in paths:
        root = Path(text).expanduser()
        if root.is_dir():
            inside = [root / name for name in _COCO_TRAIN if (root / name).is_dir()]
            found = sorted(p for p in (inside[0] if inside else root).rglob("*") if p.is_file())
            hidden = [any(x.startswith(".") for x in p.relative_to(root).parts) for p in found]
            found = [p for p, dotted in zip(found, hidden, strict=True) if not dotted]
        elif root.is_file() and root.suffix == ".tar":
            found = [root]
        elif root.exists():
            raise InputError(f"data: {root} is neither a folder nor a .tar file")
        else:
            raise InputError(f"data: {root} does not exist")
        base = root if root.is_dir() else root.parent
        for path in found:
            if path.suffix.lower() not in SUFFIXES and path.suffix != ".tar":
                continue
            (shards if path.suffix == ".tar" else files).append(path)
            stat = path.stat()
            # A name need not be text: what is not stays as it is on disk.
            digest.update(os.fsencode(path.relative_to(base)))
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return Listing(tuple(files), tuple(shards), digest.hexdigest())


@dataclass(frozen=True)
class Encoded:
    """A picture that is not decoded yet.

    Attributes:
        name: of its file, or its path in its shard.
        place: its path, through its shard if it is in one.
        raw: its bytes; ``None``: it cannot even be read.
    """

    name: str
    place: str
    raw: bytes | None


def place_in(shard: Path, name: str) -> str:
    """Path of a picture in a shard as if that were a folder."""
    return str(shard.with_suffix("") / name)


def read_pictures(listing: Listing) -> Iterator[Encoded]:
    """Undecoded pictures, in a fixed order."""
    for path in listing.files:
        try:
            check_regular(path, "picture", MAX_FILE_BYTES)
            raw = path.read_bytes()
        except (OSError, InputError):
            raw = None
        yield Encoded(path.name, str(path), raw)
    for shard in listing.shards:
        # A truncated shard gives the pictures before the break and counts as one corrupt picture.
        try:
            with shard.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
                for member in tar:
                    if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                        # The holes of a sparse member cost nothing until they are read.
                        fits = member.size <= MAX_FILE_BYTES
                        file = tar.extractfile(member) if fits else None
                        data = None if file is None else file.read()
                        yield Encoded(member.name, place_in(shard, member.name), data)
        except (OSError, tarfile.TarError, EOFError):
            yield Encoded(shard.name, str(shard), None)


def decoded(raw: bytes) -> Image.Image:
    """The picture in a file's bytes, RGB and upright; raises whatever Pillow's decoders raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(raw)) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
