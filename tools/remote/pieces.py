"""Folders in pieces under a size limit, and back: for machines that pass small files only.

``python -m tools.remote.pieces split FOLDER PIECES --limit-mb 90``
``python -m tools.remote.pieces join PIECES FOLDER``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import tarfile
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from lrisc.errors import InputError, LriscError, one_line
from lrisc.files import replace_atomically, told, write_atomically

MANIFEST = "pieces.json"
_CHUNK = 1 << 20


def limit_bytes(megabytes: float) -> int:
    """Most bytes of a piece.

    Raises:
        InputError: infinite or no number.
    """
    if not math.isfinite(megabytes):
        raise InputError("the size limit of a piece must be a number of MB")
    return int(megabytes * 1e6)


def prepare(folder: Path, pieces: Path, limit: int) -> None:
    """Make the place where :func:`split` will put pieces, so that it can be relied on.

    Args:
        folder: what will be packed; need not be there yet.
        pieces: where the pieces will go.
        limit: most bytes of a piece.

    Raises:
        InputError: the pieces would lie inside the folder, or the limit is too small.
        UnwritableError: the target is not writable.
    """
    if limit < 1024:
        raise InputError("the size limit of a piece must be at least 1024 bytes")
    if pieces.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{pieces} lies in {folder} itself: choose another folder for the pieces")
    with told(f"write the pieces into {pieces}"):
        pieces.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=pieces).close()


def split(folder: Path, pieces: Path, limit: int) -> list[Path]:
    """Pack a folder into an uncompressed tar, cut into numbered pieces, with a manifest.

    Args:
        folder: what to pack, with its subfolders.
        pieces: where the pieces go; older pieces there are removed.
        limit: most bytes of a piece.

    Returns:
        The pieces, and last the manifest, which holds their SHA-256.

    Raises:
        InputError: the folder is missing, the pieces would lie in it, or the limit is too small.
        UnwritableError: the disk is full or the target not writable.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    prepare(folder, pieces, limit)
    made: list[Path] = []
    facts: list[dict[str, Any]] = []
    whole = hashlib.sha256()
    with _temporary(f"pack {folder}") as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(folder, arcname=".")
        size = packed.seek(0, os.SEEK_END)
        packed.seek(0)
        with told(f"remove the old pieces in {pieces}"):
            for old in pieces.glob("piece-*.bin"):
                old.unlink()
        for number in range(-(-size // limit)):
            path = pieces / f"piece-{number:04d}.bin"
            digest = hashlib.sha256()

            def write(to: Path, digest: Any = digest) -> None:
                left = limit
                with to.open("wb") as out:
                    while left and (data := packed.read(min(_CHUNK, left))):
                        out.write(data)
                        digest.update(data)
                        whole.update(data)
                        left -= len(data)

            replace_atomically(path, write)
            made.append(path)
            facts.append({"name": path.name, "sha256": digest.hexdigest()})
    manifest = json.dumps({"size": size, "sha256": whole.hexdigest(), "pieces": facts}, indent=1)
    write_atomically(pieces / MANIFEST, manifest.encode())
    return [*made, pieces / MANIFEST]


@contextmanager
def _temporary(task: str) -> Generator[IO[bytes]]:
    """A nameless file for a folder's tar; its troubles are told as those of the task."""
    with told(f"{task} by way of a temporary file"), tempfile.TemporaryFile() as packed:
        yield packed


def join(pieces: Path, folder: Path) -> None:
    """Put :func:`split`'s pieces together again, checked, and unpack them.

    Args:
        pieces: folder with the pieces and their manifest.
        folder: where the content goes; files of the same name are replaced.

    Raises:
        InputError: a piece is missing or damaged, or they do not make a folder.
        UnwritableError: the disk is full or the target not writable.
    """
    try:
        manifest = cast(dict[str, Any], json.loads((pieces / MANIFEST).read_text()))
        expected = [(str(p["name"]), str(p["sha256"])) for p in manifest["pieces"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{pieces} has no readable {MANIFEST}") from error
    with _temporary(f"join {pieces}") as packed:
        for name, sha256 in expected:
            digest = hashlib.sha256()
            for data in _chunks(pieces, name):
                digest.update(data)
                packed.write(data)
            if digest.hexdigest() != sha256:
                raise InputError(f"{pieces}: {name} is damaged, copy it again")
        packed.seek(0)
        try:
            with told(f"write {folder}"):
                folder.mkdir(parents=True, exist_ok=True)
                with tarfile.open(fileobj=packed) as tar:
                    tar.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise InputError(
                f"{pieces} does not hold a packed folder: {one_line(error)}"
            ) from error


def _chunks(pieces: Path, name: str) -> Iterator[bytes]:
    try:
        with (pieces / Path(name).name).open("rb") as piece:
            while data := piece.read(_CHUNK):
                yield data
    except OSError as error:
        raise InputError(f"{pieces}: {name} is missing or unreadable") from error


def main() -> int:
    """Split or join; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.remote.pieces", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cut = commands.add_parser("split", help="a folder into pieces")
    cut.add_argument("folder", type=Path)
    cut.add_argument("pieces", type=Path)
    cut.add_argument("--limit-mb", type=float, default=90.0, help="most MB (10^6 bytes) each")
    glue = commands.add_parser("join", help="pieces into a folder")
    glue.add_argument("pieces", type=Path)
    glue.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "split":
            split(arguments.folder, arguments.pieces, limit_bytes(arguments.limit_mb))
        else:
            join(arguments.pieces, arguments.folder)
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
