"""LRISC for the training loop."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import PARTS, LriscStage
from lrisc.training.data.latents import LatentData
from lrisc.training.data.opened import TrainingData, open_data
from lrisc.training.export import export, fit_prior_table
from lrisc.training.linear_init import start_transforms, start_way
from lrisc.training.step import TrainingStep, build_model
from lrisc.training.validation import Validation, validate


class LriscTask:
    """LRISC itself.

    Args:
        config: of the stage.
    """

    def __init__(self, config: LriscStage) -> None:
        self.config = config
        self.model, self.records = build_model(config)
        self.whole_step = TrainingStep(self.model, config)

    @property
    def step(self) -> nn.Module:
        """See :class:`lrisc.training.step.TrainingStep`."""
        return self.whole_step

    @property
    def lpips(self) -> nn.Module | None:
        """Perceptual distance of the loss and of validation."""
        return self.whole_step.lpips

    @cached_property
    def pictures(self) -> TrainingData:
        """See :func:`lrisc.training.data.opened.open_data`."""
        return open_data(self.config)

    @property
    def data(self) -> TrainingData | LatentData:
        """What is learnt from: the pictures."""
        return self.pictures

    def start(self) -> None:
        """What is new of the linear channels' transforms and way starts from the pictures."""
        new = () if self.config.parent else PARTS
        if "analysis" in (*new, *self.config.fresh):
            start_transforms(self.model, self.pictures.squares)
        if "jscc_encoder" in (*new, *self.config.fresh):
            start_way(self.model, self.pictures.squares)

    def compile(self, device: torch.device) -> bool:
        """Compile the convolutional networks in place; returns whether that worked."""
        return self.whole_step.compile_parts(device)

    def validate(self, averaged: nn.Module) -> Validation:
        """See :func:`lrisc.training.validation.validate`."""
        held_out = self.pictures.held_out
        return validate(cast(Lrisc, averaged), self.lpips, held_out, self.config)

    def export(
        self, folder: Path, averaged: nn.Module, records: list[dict[str, Any]], final: bool
    ) -> None:
        """Write the checkpoint; the side-information code is fitted at the end."""
        model, table = cast(Lrisc, averaged), None
        if final and self.config.link.enabled:
            table = fit_prior_table(model, self.pictures.squares, self.config)
        export(folder, model, records, table)
