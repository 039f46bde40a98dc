"""Visits: work that ends early when its visitor leaves, or when it takes too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from lrisc.errors import InputError


class Visit:
    """One request at work.

    Args:
        seconds: it may work, from :meth:`begin` on; waiting for its turn does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = float("inf")
        self._left = threading.Event()

    def begin(self) -> None:
        """Start the clock."""
        self._end = time.monotonic() + self._seconds

    def leave(self) -> None:
        """The visitor is gone; may be called from any thread."""
        self._left.set()

    def check(self) -> None:
        """Raise InputError where the work should end."""
        if self._left.is_set():
            raise InputError("the visitor left before there was an answer")
        if time.monotonic() > self._end:
            raise InputError(
                f"this took longer than {self._seconds:g} s: choose a smaller size or fewer steps"
            )


class Visits:
    """Who is waiting for what, by the session that a browser's page has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, set[Visit]] = {}

    @contextmanager
    def open(self, session: str | None, seconds: float) -> Generator[Visit]:
        """A visit that ends when :meth:`leave` is called with its session."""
        visit = Visit(seconds)
        if session is None:
            yield visit
            return
        with self._lock:
            self._of.setdefault(session, set()).add(visit)
        try:
            yield visit
        finally:
            with self._lock:
                self._of[session].discard(visit)
                if not self._of[session]:
                    del self._of[session]

    def leave(self, session: str) -> None:
        """End whatever a session waits for."""
        with self._lock:
            for visit in self._of.get(session, ()):
                visit.leave()
