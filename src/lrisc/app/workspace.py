"""One folder for everything temporary: uploads, pictures shown, files to download.

Whatever is older than an answer stays useful is removed while the server runs, and the whole
folder when it stops.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path


class Workspace:
    """A temporary folder that empties itself.

    Args:
        max_age: seconds a file is kept.
        interval: seconds between two clean-ups.
    """

    def __init__(self, max_age: float = 1800.0, interval: float = 60.0) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="lrisc-app-"))
        self.max_age, self.interval = max_age, interval
        # Also where nobody gets to call close(), such as an exit in the middle of starting.
        atexit.register(self.close)
        self._stopped = threading.Event()
        self._janitor = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._janitor.start()

    def folder(self) -> Path:
        """A new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self.root, prefix="answer-"))

    def copy(self, path: Path) -> Path:
        """A copy of a file, of the same name."""
        return Path(shutil.copy(path, self.folder()))

    def clean(self) -> int:
        """Remove what is too old; returns the number of files removed."""
        oldest = time.time() - self.max_age
        removed = 0
        for folder, _, names in os.walk(self.root, topdown=False):
            for name in names:
                path = Path(folder, name)
                # A file may vanish under our hands: an upload is renamed when it is complete.
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()
                        removed += 1
            with contextlib.suppress(OSError):
                if Path(folder) != self.root and Path(folder).stat().st_mtime < oldest:
                    Path(folder).rmdir()
        return removed

    def close(self) -> None:
        """Stop cleaning and remove the folder."""
        self._stopped.set()
        self._janitor.join()
        atexit.unregister(self.close)
        shutil.rmtree(self.root, ignore_errors=True)

    def _run(self) -> None:
        while not self._stopped.wait(self.interval):
            self.clean()
