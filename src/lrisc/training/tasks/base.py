"""What the loop needs to know of the networks it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lrisc.training.validation import Validation


class Data(Protocol):
    """What a stage learns from."""

    @property
    def key(self) -> str:
        """Changes when the content may have."""
        ...

    def __len__(self) -> int:
        """Pictures of an epoch."""
        ...

    def batch(self, step: int, samples: range, fraction: float) -> tuple[Tensor, ...]:
        """What the task's step takes before draws and number: a pure function, on the CPU.

        Args:
            step: counted from 0.
            samples: of the joint batch.
            fraction: of the stage that is done, in [0, 1).
        """
        ...

    def facts(self) -> dict[str, Any]:
        """For the record of a stage."""
        ...


class Task(Protocol):
    """Networks, their data, their loss, their validation and their checkpoint.

    Attributes:
        data: what is learnt from; opened, and decoded if needed, when first asked for.
        model: the networks; what requires a gradient is trained and averaged.
        step: ``step(*batch, draws, number) -> (loss, sums for the log)``, with ``model`` inside;
            the sum ``batch`` is the number of pictures.
        records: training records of the parent's stages.
    """

    records: list[dict[str, Any]]

    @property
    def data(self) -> Data:
        """See the class."""
        ...

    @property
    def model(self) -> nn.Module:
        """See the class."""
        ...

    @property
    def step(self) -> nn.Module:
        """See the class."""
        ...

    def start(self) -> None:
        """Whatever a new run takes from its training pictures before the first step."""
        ...

    def compile(self, device: torch.device) -> bool:
        """Compile what is worth it in place; returns whether that worked."""
        ...

    def validate(self, averaged: nn.Module) -> Validation:
        """Figures of the averaged weights on held-out pictures."""
        ...

    def export(
        self, folder: Path, averaged: nn.Module, records: list[dict[str, Any]], final: bool
    ) -> None:
        """Write the averaged weights as a checkpoint folder.

        Args:
            folder: created if needed.
            averaged: a copy of ``model``.
            records: one per stage, in order.
            final: whether the stage is done, and what is fitted at the end is fitted.
        """
        ...
