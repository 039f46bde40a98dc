"""The cache folder, and files written so that a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError

from lrisc.errors import InputError, LriscError, reason


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
        raise UnwritableError(f"cannot {what}: {reason(error)}") from error


@contextlib.contextmanager
def scratch() -> Generator[Path]:
    """A temporary folder, empty, that goes with all that is in it.

    Raises:
        UnwritableError: there is none to be had, or the block cannot write to it.
    """
    with told("write to a temporary folder"), tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def replace_atomically(
    path: Path, write: Callable[[Path], object], *, outdated: Path | None = None
) -> None:
    """Write under a temporary name beside the target, flush to disk, rename.

    Args:
        path: the file to replace; its folder is created.
        write: writes all of the file to the path it gets.
        outdated: a file that would be wrong beside the new one: it goes just before the renaming.

    Raises:
        UnwritableError: in one line, what failed; an old file at ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made anew: where others may write, too, a link to a file of ours could lie in wait.
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if outdated is not None:
            outdated.unlink(missing_ok=True)
        os.replace(temporary, path)
    # safetensors reports a full disk as its own error rather than as an OSError.
    except (OSError, SafetensorError) as error:
        kept = "the previous one is intact" if os.path.exists(path) else "nothing was there before"
        raise UnwritableError(f"cannot write {path}: {reason(error)}; {kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes with :func:`replace_atomically`."""
    replace_atomically(path, lambda temporary: temporary.write_bytes(data))


def open_lock(path: Path) -> BinaryIO:
    """Open a file to lock it; it is made where there is none, and what is there stays as it is.

    Raises:
        InputError: no regular file, such as a link, has the name.
        UnwritableError: it cannot be opened.
    """
    with told(f"write {path}"):
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise InputError(f"{path} is no regular file: remove it or choose another folder")
        # For a link or a FIFO that somebody put there since.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.fdopen(os.open(path, flags, 0o666), "rb")


def remove_half_written(folder: Path) -> None:
    """Remove the temporary files of :func:`replace_atomically` in a folder, not in those below.

    Only for a folder that nobody else writes to, such as one that is locked.
    """
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            path.unlink(missing_ok=True)


def check_outputs(
    paths: Iterable[Path], *, suffixes: Sequence[str] = (), inputs: Iterable[str | Path] = ()
) -> None:
    """Refuse, before any work, outputs that cannot be written or would cost the user a file.

    Nothing is made or removed.

    Args:
        paths: of the files that will be written.
        suffixes: one of which their names must have; none for any.
        inputs: what is read, whether it is there already or not.

    Raises:
        InputError: another suffix, one of the inputs, twice the same file, or there already and no
            regular file.
        UnwritableError: a folder cannot be made or written to.
    """
    taken = {identity for source in inputs for identity in _identities(source)}
    places: set[tuple[str, str]] = set()
    for path in paths:
        if suffixes and path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: the name must end with {' or '.join(suffixes)}")
        if taken.intersection(_identities(path)):
            raise InputError(f"{path} is an input of this command: choose another output")
        # A link would be replaced, not what it leads to.
        place = os.path.realpath(path.parent), path.name
        if place in places:
            raise InputError(f"{path} is two outputs of this command: give each a name of its own")
        places.add(place)
        if os.path.lexists(path) and os.path.exists(path) and not os.path.isfile(path):
            kind = "a folder" if os.path.isdir(path) else "no regular file"
            raise InputError(f"{path} is {kind}: choose another output")
        _check_folder(path.parent, path)


def check_output_folder(folder: Path, suffixes: Iterable[str]) -> None:
    """Refuse a file where several files are to go.

    Args:
        folder: that files will be written into, whether it is there already or not.
        suffixes: a folder that is not there yet and has one of them is meant to be a file.

    Raises:
        InputError: it is a file, or looks like one.
    """
    if os.path.isdir(folder):
        return
    if os.path.lexists(folder) or folder.suffix.lower() in suffixes:
        raise InputError(f"{folder} is no folder: several files are written, into a folder")


def check_apart(folders: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Refuse, before any work, to write into a folder whose pictures are read.

    Args:
        folders: that will be written into, whether they are there already or not.
        inputs: what is read; only folders among them matter.

    Raises:
        InputError: one is an input.
    """
    taken = {identity for path in inputs if os.path.isdir(path) for identity in _identities(path)}
    for folder in folders:
        if taken.intersection(_identities(folder)):
            raise InputError(f"{folder} holds what this command reads: choose another folder")


def check_regular(path: str | Path, what: str, limit: int) -> None:
    """Refuse, before it is opened, what is no file of a sensible size.

    Opening a FIFO waits for its other end, and a device may never end.

    Args:
        path: of a file to read.
        what: what to call it in errors.
        limit: bytes it may have.

    Raises:
        InputError: there is none, it is no regular file, larger, or cannot be looked at.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"there is no {what} {path}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise InputError(f"{path} is {kind}, not a {what}")
    if found.st_size > limit:
        most = f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} KB"
        raise InputError(f"{path} has more than {most}, which no {what} needs")


def remove_stale(path: Path) -> None:
    """Remove what an earlier run left at an output, so that it does not pass for this one's.

    Only a regular file, or a link to one, goes: never a device, a FIFO or a folder.

    Raises:
        UnwritableError: the folder is not writable.
    """
    with told(f"remove {path}"):
        if os.path.isfile(path):
            path.unlink()


def _identities(path: str | Path) -> Iterable[object]:
    """What two names of one file have in common: the file itself, or where it would be."""
    # A source may be no path at all, such as a box, or a name too long to be one.
    with contextlib.suppress(OSError, ValueError):
        yield os.path.realpath(path)
        found = os.stat(path)
        yield found.st_dev, found.st_ino


def _check_folder(folder: Path, path: Path) -> None:
    """Raise UnwritableError unless the folder, or what it would be made in, takes new files."""
    with told(f"write {path}"):
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is not a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            read_only = os.statvfs(there).f_flag & os.ST_RDONLY
            code = errno.EROFS if read_only else errno.EACCES
            raise OSError(code, f"{there}: {os.strerror(code)}")


def slug(name: str) -> str:
    """A file name made of any text: one part, of plain letters, at most 200 of them.

    What had to be replaced is told apart by a hash.
    """
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", name)
    if plain == name and len(name) <= 200 and name.strip("."):
        return name
    stem, dot, suffix = plain.strip(".")[:180].rpartition(".")
    mark = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{stem}-{mark}{dot}{suffix}" if dot else f"{suffix}-{mark}"


def cache_folder() -> Path:
    """The folder of LRISC's caches: ``$XDG_CACHE_HOME/lrisc``, or ``~/.cache/lrisc``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "lrisc"
