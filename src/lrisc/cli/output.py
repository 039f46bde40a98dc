"""What commands print and write."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from lrisc.refinement.search import OnProgress, Progress


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def set_quiet(quiet: bool) -> None:
    """Whether only errors, and what is asked for as JSON, are printed from here on."""
    _quiet.set(quiet)


def is_quiet() -> bool:
    """Whether nothing but errors is wanted."""
    return _quiet.get()


@contextmanager
def effort_progress(console: Console, task: str) -> Generator[OnProgress]:
    """Say what is done, and with effort how far it is and how long it will take."""
    with console.status(task) as status:

        def show(done: Progress) -> None:
            status.update(
                f"{task}: effort {done.iteration} of {done.iterations}, "
                f"{done.seconds_left:.0f} s left (Ctrl-C sends the best so far)"
            )

        yield show


def terminal(stderr: bool = True) -> Console:
    """Where people read: standard error, or standard output for results."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        soft_wrap=True,
        quiet=stderr and is_quiet(),
    )
