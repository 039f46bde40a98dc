"""What commands print and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrisc.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def one_line(message: object) -> str:
    """A message without line breaks."""
    return " ".join(str(message).split())


def terminal(stderr: bool = True) -> Console:
    """Where people read: standard error, or standard output for results."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def clear(folder: Path, *names: str) -> None:
    """Remove what an earlier run left: it must not pass for this one's result.

    The folder is made, so that one that cannot be is told before the work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error


def save_picture(picture: Any, path: Path) -> None:
    """Write a PNG, complete or not at all."""
    from lrisc.files import replace_atomically

    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: pictures are written as .png")
    replace_atomically(path, lambda temporary: picture.save(temporary, format="png"))
