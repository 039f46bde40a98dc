"""Seconds per part of a transmission, without a stopwatch in every signature."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

logger = logging.getLogger(__name__)


class Stopwatch:
    """Collects the time of every :func:`part` that runs inside its ``with`` block.

    Attributes:
        seconds: by part, in the order in which they ended first.

    Example:
        >>> with Stopwatch() as watch:
        ...     with part("nothing"):
        ...         pass
        >>> list(watch.seconds)
        ['nothing']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._before: list[Token[Stopwatch | None]] = []

    def __enter__(self) -> Stopwatch:
        """Start; parts of other threads are not seen."""
        self._before.append(_running.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; the stopwatch that ran before goes on."""
        _running.reset(self._before.pop())


_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def part(name: str) -> Generator[None]:
    """Add the time spent inside to ``name`` of the running stopwatch, if there is one."""
    watch = _running.get()
    start = time.perf_counter()
    try:
        yield
    finally:
        spent = time.perf_counter() - start
        logger.debug("%s: %.2f s", name, spent)
        if watch is not None:
            watch.seconds[name] = watch.seconds.get(name, 0.0) + spent
