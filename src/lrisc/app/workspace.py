"""One folder for everything temporary: uploads, pictures shown, files to download.

Whatever is older than an answer stays useful is removed while the server runs, and the whole
folder when it stops. What a killed server left goes when the next one starts.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from lrisc.errors import LriscError

MAX_BYTES = 2**30
"""On disk, of all visitors together."""
YOUNG_SECONDS = 60.0
"""How long a file stays whatever else is uploaded: its answer is being computed."""

_PREFIX = "lrisc-app-"
_LOCK = ".lock"
# Every file takes a block of the disk, and every folder.
_BLOCK = 4096


class FullError(LriscError):
    """There is no room for another upload."""


class Workspace:
    """A temporary folder that empties itself.

    Args:
        max_age: seconds a file is kept.
        interval: seconds between two clean-ups.
        max_bytes: on disk.
    """

    def __init__(
        self, max_age: float = 1800.0, interval: float = 60.0, max_bytes: int = MAX_BYTES
    ) -> None:
        _remove_abandoned()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.max_age, self.interval, self.max_bytes = max_age, interval, max_bytes
        # Whoever can lock it knows that its server is gone, however it went.
        self._lock = (self.root / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._room = threading.Lock()
        # Also where nobody gets to call close(), such as an exit in the middle of starting.
        atexit.register(self.close)
        self._stopped = threading.Event()
        self._janitor = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._janitor.start()

    def folder(self) -> Path:
        """A new, empty folder.

        Raises:
            FullError: there is no room for what is here already.
        """
        self.make_room(0)
        return Path(tempfile.mkdtemp(dir=self.root, prefix="answer-"))

    def copy(self, path: Path) -> Path:
        """A copy of a file, of the same name."""
        return Path(shutil.copy(path, self.folder()))

    def clean(self) -> int:
        """Remove what is too old; returns the number of files removed."""
        return self._remove_before(time.time() - self.max_age)

    def make_room(self, size: int) -> None:
        """Remove the oldest files until another upload fits.

        Args:
            size: of the upload, bytes.

        Raises:
            FullError: even without all that are older than a minute there is no room for it.
        """
        with self._room:
            files, used = self._files()
            excess = used + size - self.max_bytes
            if excess <= 0:
                return
            newest = time.time() - YOUNG_SECONDS
            freed, horizon = 0, 0.0
            for modified, taken in sorted(files):
                if freed >= excess or modified > newest:
                    break
                freed, horizon = freed + taken, modified
            if freed:
                self._remove_before(horizon + 1e-6)
            if freed < excess:
                raise FullError("the server is full: try again in some minutes")

    def close(self) -> None:
        """Stop cleaning and remove the folder."""
        self._stopped.set()
        self._janitor.join()
        atexit.unregister(self.close)
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()

    def _files(self) -> tuple[list[tuple[float, int]], int]:
        """Time and size of every file, and what all of it takes on disk."""
        files: list[tuple[float, int]] = []
        folders = 0
        for folder, _, names in os.walk(self.root):
            folders += 1
            for name in names:
                with contextlib.suppress(OSError):
                    found = Path(folder, name).stat()
                    if name != _LOCK:
                        files.append((found.st_mtime, max(512 * found.st_blocks, _BLOCK)))
        return files, sum(size for _, size in files) + _BLOCK * folders

    def _remove_before(self, oldest: float) -> int:
        removed = 0
        for folder, _, names in os.walk(self.root, topdown=False):
            for name in names:
                path = Path(folder, name)
                if path == self.root / _LOCK:
                    continue
                # A file may vanish under our hands: an upload is renamed when it is complete.
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()
                        removed += 1
            with contextlib.suppress(OSError):
                if Path(folder) != self.root and Path(folder).stat().st_mtime < oldest:
                    Path(folder).rmdir()
        return removed

    def _run(self) -> None:
        while not self._stopped.wait(self.interval):
            self.clean()


def _remove_abandoned() -> None:
    """Remove the folders of servers that were killed; a living one holds the lock in its own."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # In a folder that everybody may write to, only what is ours; rmtree follows no link.
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.geteuid():
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
