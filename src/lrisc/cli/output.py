"""What commands print and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def one_line(message: object) -> str:
    """A message without line breaks."""
    return " ".join(str(message).split())


def terminal(stderr: bool = True) -> Console:
    """Where people read: standard error, or standard output for results."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
