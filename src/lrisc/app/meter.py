"""How much of an answer is done, told while it is computed."""

from __future__ import annotations

from collections.abc import Callable

from lrisc.refinement.search import Progress

Tell = Callable[[float, str], None]
"""Takes a share, 0 to 1, that only grows, and what is being done."""

# Seconds relative to one step of the diffusion: a share is for patience, not for a stopwatch.
_ENCODING, _ITERATION, _STEP, _MEASURING = 0.5, 2.0, 1.0, 0.5


class Meter:
    """Counts the parts of one answer.

    Args:
        tell: is told; ``None``: nobody.
        steps: of the diffusion.
        effort: iterations before it.
    """

    def __init__(self, tell: Tell | None = None, steps: int = 1, effort: int = 0) -> None:
        self._tell, self._steps, self._effort = tell, steps, effort
        self._iterations = self._started = 0
        self._total = _ENCODING + effort * _ITERATION + steps * _STEP + _MEASURING

    def encode(self) -> None:
        """The encoder begins."""
        self._show(0, "encoding")

    def iterate(self, done: Progress) -> None:
        """An iteration of effort is finished."""
        self._iterations = done.iteration
        what = f"effort {done.iteration} of {self._effort}, {done.seconds_left:.0f} s left"
        self._show(_ENCODING + done.iteration * _ITERATION, what)

    def decode(self) -> None:
        """The decoder begins, of the receiver or of an estimate that effort makes."""
        self._started = 0

    def step(self) -> None:
        """The network of the diffusion begins; in effort, which runs it too, it is not counted."""
        if self._iterations < self._effort:
            return
        self._started += 1
        before = _ENCODING + self._effort * _ITERATION + (self._started - 1) * _STEP
        self._show(before, f"diffusion step {self._started} of {self._steps}")

    def _show(self, work: float, what: str) -> None:
        if self._tell is not None:
            self._tell(work / self._total, what)
