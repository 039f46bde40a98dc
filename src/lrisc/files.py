"""The cache folder, and files written so that a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from pathlib import Path

from safetensors import SafetensorError

from lrisc.errors import LriscError


def cache_folder() -> Path:
    """The folder of LRISC's caches: ``$XDG_CACHE_HOME/lrisc``, or ``~/.cache/lrisc``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "lrisc"


class UnwritableError(LriscError):
    """The disk is full or the folder not writable; what was there before is intact."""


@contextlib.contextmanager
def told(what: str) -> Generator[None]:
    """Tell a failure to write in one line.

    Args:
        what: is tried, as in "write FILE".

    Raises:
        UnwritableError: where the block raises an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UnwritableError(f"cannot {what}: {reason}") from error


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write under a temporary name beside the target, flush to disk, rename.

    Args:
        path: the file to replace; its folder is created.
        write: writes all of the file to the path it gets.

    Raises:
        UnwritableError: in one line, what failed; an old file at ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    # safetensors reports a full disk as its own error rather than as an OSError.
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(
            str(error).split()
        )
        kept = "the previous one is intact" if os.path.exists(path) else "nothing was there before"
        raise UnwritableError(f"cannot write {path}: {reason}; {kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes with :func:`replace_atomically`."""
    replace_atomically(path, lambda temporary: _write_bytes(temporary, data))


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
