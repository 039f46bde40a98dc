"""The saliency detector for the training loop.

It learns from a teacher's maps of many photographs and from exact masks of few; crops grow while it
trains, because small ones cost a third, and exact masks come more often towards the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.metrics.lpips import Lpips
from lrisc.roi.saliency import SaliencyConfig, SaliencyNet, load_detector, saliency, save_detector
from lrisc.training.config.schema import (
    Count,
    NotNegative,
    Share,
    StageConfig,
    ValidationConfig,
)
from lrisc.training.data.crops import to_signal
from lrisc.training.saliency.composites import Composer
from lrisc.training.saliency.distil import (
    MaskedSquares,
    Shares,
    masks_key,
    open_teacher,
    read_masked,
    saliency_loss,
    training_batch,
)
from lrisc.training.saliency.measure import saliency_figures
from lrisc.training.saliency.student import Student, hint_loss, hints
from lrisc.training.step import compile_in_place
from lrisc.training.validation import Validation, sample_sheet

PRESET = "saliency"
SIDES = ((0.3, 96), (0.5, 128), (0.85, 160), (1.0, 192))
"""Up to which share of the stage crops have which side."""


@dataclass(frozen=True)
class SaliencyLoss:
    """The loss: binary cross-entropy, soft intersection over union, hints.

    Attributes:
        hints: weight of imitating AlexNet's features, see `lrisc.training.saliency.student`; 0
            needs no LPIPS weights.
    """

    hints: NotNegative = 3.0


@dataclass(frozen=True)
class SaliencyShares:
    """Where crops come from; the rest has a teacher's maps.

    Attributes:
        exact: share with exact masks in the first two thirds of the stage.
        exact_late: share with exact masks in the last third.
        composite: share pasted together, where the maps allow it.
    """

    exact: Share = 0.1
    exact_late: Share = 0.15
    composite: Share = 0.4


@dataclass(frozen=True)
class SaliencyValidation(ValidationConfig):
    """Validation on the last photographs with exact masks, which are not trained on.

    Attributes:
        pictures: how many.
        metric: ``max_f`` (highest).
    """

    pictures: Count = 60
    metric: Literal["max_f"] = "max_f"


@dataclass(frozen=True)
class SaliencyStage(StageConfig):
    """A run of the detector, see :class:`lrisc.training.config.schema.StageConfig`.

    Attributes:
        data: picture cache, (n, S, S, 3) .npy; may be left out.
        maps: its maps by tools/saliency/teacher_maps.py.
        masks: folder of photographs with exact masks.
        shares: of the crops.
        loss: of the run.
        validate: of the run.
    """

    maps: str = ""
    masks: str = ""
    shares: SaliencyShares = field(default_factory=SaliencyShares)
    loss: SaliencyLoss = field(default_factory=SaliencyLoss)
    validate: SaliencyValidation = field(default_factory=SaliencyValidation)


class SaliencyData:
    """Photographs with maps, see :class:`lrisc.training.tasks.base.Data`.

    Args:
        config: of the stage.

    Raises:
        InputError: they cannot be read, or are too few.
    """

    def __init__(self, config: SaliencyStage) -> None:
        if not config.masks:
            raise InputError("masks: name a folder of photographs and masks (masks=/path/to/ECSSD)")
        if len(config.data) != bool(config.maps):
            raise InputError("data and maps go together: one .npy of squares and one of their maps")
        exact = read_masked(Path(config.masks))
        kept = len(exact) - config.validate.pictures
        if kept < 1:
            raise InputError(f"masks: more than {config.validate.pictures} photographs are needed")
        self.key = masks_key(config.masks, config.data, config.maps)
        self.exact = MaskedSquares(exact.squares[:kept], exact.maps[:kept])
        self.held_out = MaskedSquares(exact.squares[kept:], exact.maps[kept:])
        self.teacher = MaskedSquares(exact.squares[:0], exact.maps[:0])
        if config.maps:
            self.teacher = open_teacher(Path(config.data[0]), Path(config.maps))
        self._shares, self._seed = config.shares, config.draw_seed

    @cached_property
    def _composer(self) -> Composer | None:
        composer = Composer(self.teacher, self.exact) if self._shares.composite else None
        return composer if composer is not None and composer.possible else None

    def __len__(self) -> int:
        """Photographs of an epoch."""
        return len(self.teacher) + len(self.exact)

    def batch(self, step: int, samples: range, fraction: float) -> tuple[Tensor, Tensor]:
        """See :func:`lrisc.training.saliency.distil.training_batch`."""
        side = next(side for end, side in SIDES if fraction < end)
        shares = self._shares
        exact = shares.exact_late if fraction > 2 / 3 else shares.exact
        mix = Shares(exact, shares.composite)
        draws = Draws(self._seed, step, samples)
        return training_batch(self.teacher, self.exact, mix, draws, side, self._composer)

    def facts(self) -> dict[str, Any]:
        """For the record of a stage."""
        return {"teacher_maps": len(self.teacher), "exact_masks": len(self.exact)}


class SaliencyStep(nn.Module):
    """Photographs and maps in, loss out.

    Args:
        model: what learns.
        hint_weight: of the hints; 0 needs no LPIPS weights.
    """

    def __init__(self, model: Student, hint_weight: float) -> None:
        super().__init__()
        self.model = model
        self.trunk = Lpips.from_weights("alex") if hint_weight else None
        self.hint_weight = hint_weight
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self, pictures: Tensor, targets: Tensor, draws: Draws, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Args:
            pictures: (B, 3, side, side) in [0, 1].
            targets: (B, 1, side/4, side/4) in [0, 1].
            draws: not needed, the data has used them.
            step: not needed.
        """
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        logits, guesses = self.model(pictures)
        loss = saliency_loss(logits, targets)
        if self.trunk is not None:
            loss = loss + self.hint_weight * hint_loss(guesses, hints(self.trunk, pictures))
        return loss, {"batch": torch.full((), float(len(pictures)), device=pictures.device)}


class SaliencyTask:
    """The detector for the training loop, see :class:`lrisc.training.tasks.base.Task`.

    Args:
        config: of the stage.
    """

    def __init__(self, config: SaliencyStage) -> None:
        self.config = config
        self._data: SaliencyData | None = None
        self.records: list[dict[str, Any]] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = Student(SaliencyNet(SaliencyConfig()))
        if config.parent:
            parent = load_detector(Path(config.parent)).state_dict()
            self.model.network.load_state_dict(parent)
        self.step = SaliencyStep(self.model, config.loss.hints)

    @property
    def data(self) -> SaliencyData:
        """Photographs with maps."""
        if self._data is None:
            self._data = SaliencyData(self.config)
        return self._data

    def start(self) -> None:
        """Nothing here depends on the pictures."""

    def compile(self, device: torch.device) -> bool:
        """Compile the levels of the network in place; returns whether that worked."""
        return compile_in_place(list(self.model.network.levels), device)

    def validate(self, averaged: nn.Module) -> Validation:
        """Maximum F-measure and mean absolute error; pictures, maps and masks side by side."""
        network, held = cast(Student, averaged).network, self.data.held_out
        device = next(network.parameters()).device
        squares = torch.from_numpy(np.array(held.squares)).permute(0, 3, 1, 2)
        maps = [saliency(p.to(device) / 255, network).cpu() for p in squares.split(1)]
        masks = torch.from_numpy(held.maps.astype(np.float32) / 255)
        pairs = ((m[0, 0].numpy(), mask.numpy()) for m, mask in zip(maps, masks, strict=True))
        found = saliency_figures(pairs)
        colour = [2 * x.expand(-1, 3, -1, -1) - 1 for x in (torch.cat(maps), masks[:, None])]
        sheet = sample_sheet([to_signal(squares), *colour])
        return Validation({"max_f": found.max_f, "mae": found.mae}, sheet)

    def export(
        self, folder: Path, averaged: nn.Module, records: list[dict[str, Any]], final: bool
    ) -> None:
        """Write the detector's folder, without what only training needs."""
        save_detector(folder, cast(Student, averaged).network, {"runs": records})
