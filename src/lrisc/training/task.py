"""What the loop needs to know of the networks it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from lrisc.baselines.deepjscc.network import PRESETS as DEEPJSCC_PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.components import start_transforms, start_way
from lrisc.training.config import PARTS, StageConfig
from lrisc.training.data import Squares
from lrisc.training.deepjscc import DeepJsccTask
from lrisc.training.export import export, fit_prior_table
from lrisc.training.step import TrainingStep, build_model
from lrisc.training.validation import Validation, validate


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


class LriscTask:
    """LRISC itself.

    Args:
        config: of the stage.
    """

    def __init__(self, config: StageConfig) -> None:
        self.config = config
        self.model, self.records = build_model(config)
        self.step = TrainingStep(self.model, config)

    def start(self, squares: Squares) -> None:
        """What is new of the linear channels' transforms and way starts from the pictures."""
        new = () if self.config.parent else PARTS
        if "analysis" in (*new, *self.config.fresh):
            start_transforms(self.model, squares)
        if "jscc_encoder" in (*new, *self.config.fresh):
            start_way(self.model, squares)

    def compile(self, device: torch.device) -> bool:
        """Compile the convolutional networks in place; returns whether that worked."""
        return self.step.compile_parts(device)

    def validate(self, averaged: nn.Module, pictures: Squares) -> Validation:
        """See :func:`lrisc.training.validation.validate`."""
        return validate(cast(Lrisc, averaged), self.step.lpips, pictures, self.config)

    def export(
        self,
        folder: Path,
        averaged: nn.Module,
        records: list[dict[str, Any]],
        squares: Squares | None,
    ) -> None:
        """Write the checkpoint; the side-information code is fitted where squares are given."""
        model, table = cast(Lrisc, averaged), None
        if squares is not None and self.config.link.enabled:
            table = fit_prior_table(model, squares, self.config)
        export(folder, model, records, table)


def make_task(config: StageConfig) -> Task:
    """The task that a stage's preset names.

    Raises:
        InputError: the parent is missing or of another size.
    """
    return DeepJsccTask(config) if config.preset in DEEPJSCC_PRESETS else LriscTask(config)
