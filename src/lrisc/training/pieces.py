"""Folders in pieces under a size limit, and back: for machines that pass small files only.

``python -m lrisc.training.pieces split FOLDER PIECES --limit-mb 90``
``python -m lrisc.training.pieces join PIECES FOLDER``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, cast

from lrisc.errors import InputError, LriscError
from lrisc.files import replace_atomically

MANIFEST = "pieces.json"
_CHUNK = 1 << 20


def split(folder: Path, pieces: Path, limit: int) -> list[Path]:
    """Pack a folder into an uncompressed tar, cut into numbered pieces, with a manifest.

    Args:
        folder: what to pack, with its subfolders.
        pieces: where the pieces go; older pieces there are removed.
        limit: most bytes of a piece.

    Returns:
        The pieces, and last the manifest, which holds their SHA-256.

    Raises:
        InputError: the folder is missing or the limit too small.
        UnwritableError: the disk is full or the target not writable.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if limit < 1024:
        raise InputError("the size limit of a piece must be at least 1024 bytes")
    made: list[Path] = []
    facts: list[dict[str, Any]] = []
    whole = hashlib.sha256()
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(folder, arcname=".")
        size = packed.seek(0, os.SEEK_END)
        packed.seek(0)
        pieces.mkdir(parents=True, exist_ok=True)
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
    replace_atomically(pieces / MANIFEST, partial(_write_text, manifest))
    return [*made, pieces / MANIFEST]


def _write_text(text: str, path: Path) -> None:
    path.write_text(text)


def join(pieces: Path, folder: Path) -> None:
    """Put :func:`split`'s pieces together again, checked, and unpack them.

    Args:
        pieces: folder with the pieces and their manifest.
        folder: where the content goes; files of the same name are replaced.

    Raises:
        InputError: a piece is missing or damaged.
    """
    try:
        manifest = cast(dict[str, Any], json.loads((pieces / MANIFEST).read_text()))
        expected = [(str(p["name"]), str(p["sha256"])) for p in manifest["pieces"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{pieces} has no readable {MANIFEST}") from error
    with tempfile.TemporaryFile() as packed:
        for name, sha256 in expected:
            digest = hashlib.sha256()
            try:
                with (pieces / Path(name).name).open("rb") as piece:
                    while data := piece.read(_CHUNK):
                        digest.update(data)
                        packed.write(data)
            except OSError as error:
                raise InputError(f"{pieces}: {name} is missing") from error
            if digest.hexdigest() != sha256:
                raise InputError(f"{pieces}: {name} is damaged, copy it again")
        packed.seek(0)
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=packed) as tar:
            tar.extractall(folder, filter="data")


def main() -> int:
    """Split or join; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.training.pieces", description=__doc__)
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
            split(arguments.folder, arguments.pieces, int(arguments.limit_mb * 1e6))
        else:
            join(arguments.pieces, arguments.folder)
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
