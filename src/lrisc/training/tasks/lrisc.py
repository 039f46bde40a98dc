"""LRISC for the training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import PARTS, StageConfig
from lrisc.training.data.squares import Squares
from lrisc.training.export import export, fit_prior_table
from lrisc.training.linear_init import start_transforms, start_way
from lrisc.training.step import TrainingStep, build_model
from lrisc.training.validation import Validation, validate


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
