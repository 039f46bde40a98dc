"""What the loop needs to know of the networks it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from lrisc.training.data.squares import Squares
from lrisc.training.validation import Validation


class Task(Protocol):
    """Networks, their loss, their validation and their checkpoint.

    Attributes:
        model: the networks; what requires a gradient is trained and averaged.
        step: ``step(pictures, draws, number) -> (loss, sums for the log)``, with ``model`` inside.
        records: training records of the parent's stages.
    """

    records: list[dict[str, Any]]

    @property
    def model(self) -> nn.Module:
        """See the class."""
        ...

    @property
    def step(self) -> nn.Module:
        """See the class."""
        ...

    def start(self, squares: Squares) -> None:
        """Whatever a new run takes from its training pictures before the first step."""
        ...

    def compile(self, device: torch.device) -> bool:
        """Compile what is worth it in place; returns whether that worked."""
        ...

    def validate(self, averaged: nn.Module, pictures: Squares) -> Validation:
        """Figures of the averaged weights on (n, side, side, 3) uint8 pictures."""
        ...

    def export(
        self,
        folder: Path,
        averaged: nn.Module,
        records: list[dict[str, Any]],
        squares: Squares | None,
    ) -> None:
        """Write the averaged weights as a checkpoint folder.

        Args:
            folder: created if needed.
            averaged: a copy of ``model``.
            records: one per stage, in order.
            squares: training pictures, for what is fitted at the end; ``None``: an intermediate
                checkpoint.
        """
        ...
