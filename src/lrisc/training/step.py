"""The networks and the loss of a stage as one module, so that DDP wraps the whole step."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from lrisc.checkpoint import load_checkpoint
from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.metrics.lpips import Lpips
from lrisc.models.config import PRESETS, ModelConfig, Steering
from lrisc.models.lrisc import Lrisc
from lrisc.training.conditions import draw_link, draw_regions
from lrisc.training.config.schema import PARTS, LriscStage
from lrisc.training.data.crops import to_signal
from lrisc.training.objective import Terms, training_loss

logger = logging.getLogger(__name__)

_COMPILED = ("analysis", "context", "unet")


class TrainingStep(nn.Module):
    """Pictures in, loss and its terms out.

    Args:
        model: the networks; the parts the stage does not train are frozen here.
        config: of the stage.
    """

    def __init__(self, model: Lrisc, config: LriscStage) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.lpips: Lpips | None = None
        if config.loss.lpips > 0:
            path = config.loss.lpips_weights or None
            self.lpips = Lpips.from_weights(config.loss.lpips_backbone, path)
        for part in PARTS:
            model.get_submodule(part).requires_grad_(part in config.train)
        if not config.link.adapt:
            # Without a gradient in the step, DDP would wait for one.
            for codec in (model.jscc_encoder, model.jscc_decoder):
                codec.snr.requires_grad_(False)
                if codec.gains is not None:
                    codec.gains.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pictures: Tensor, draws: Draws, step: int) -> tuple[Tensor, Terms]:
        """Loss of a batch.

        Args:
            pictures: (B, 3, H, W) uint8; a fourth channel is the mask of the region of interest.
            draws: of these samples.
            step: counted from 0; warm-ups and curricula follow it.

        Returns:
            See :func:`lrisc.training.objective.training_loss`.
        """
        config = self.config
        masks = pictures[:, 3:] if pictures.shape[1] > 3 else None
        pictures = pictures[:, :3]
        return training_loss(
            self.model,
            self.lpips,
            to_signal(pictures),
            draws,
            config.loss,
            rate=config.loss.rate_at(step),
            conditions=draw_link(draws, config.link, step) if config.link.enabled else None,
            regions=draw_regions(draws, config.roi, pictures, masks),
            adapt=config.link.adapt,
        )

    def compile_parts(self, device: torch.device) -> bool:
        """Compile the convolutional networks in place, if this machine can.

        Returns:
            Whether they are compiled; if not, one warning says why.
        """
        parts = [self.model.get_submodule(name) for name in _COMPILED]
        return compile_in_place([*parts, *([self.lpips] if self.lpips else [])], device)


def compile_in_place(parts: list[nn.Module], device: torch.device) -> bool:
    """Compile modules in place for fixed shapes, if this machine can.

    Returns:
        Whether they are compiled; if not, one warning says why.
    """
    reason = _cannot_compile(device)
    if reason:
        logger.warning("torch.compile does not work here, going on without it: %s", reason)
        return False
    for part in parts:
        part.compile(dynamic=False)
    return True


def _cannot_compile(device: torch.device) -> str:
    """Why torch.compile fails on a device, found out on a small function; empty if it works."""

    def probe(x: Tensor) -> Tensor:
        return (x.sin() * 2).sum()

    try:
        compiled = cast(Any, torch.compile(probe))
        x = torch.ones(8, device=device, requires_grad=True)
        compiled(x).backward()
    # A missing compiler, an old GPU, an unsupported Python: each has an error class of its own.
    except Exception as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ""


def _model_config(config: LriscStage, steering: Steering | Literal[""]) -> ModelConfig:
    """The preset's numbers, and the steering that the stage, or else its parent, trains."""
    preset = PRESETS[config.preset]
    return replace(preset, roi_steering=config.roi.steering if config.roi.fraction else steering)


def build_model(config: LriscStage) -> tuple[Lrisc, list[dict[str, Any]]]:
    """The stage's networks: from its parent, or anew from the seed.

    Returns:
        The networks, and the training records of the parent's stages.

    Raises:
        InputError: the parent is missing, of another size, or has gains that the preset lacks.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Lrisc(_model_config(config, ""))
    if not config.parent:
        return model, []
    if not Path(config.parent).is_dir():
        raise InputError(f"parent: {config.parent} is no checkpoint folder; train it first")
    loaded = load_checkpoint(config.parent)
    if not loaded.model.config.same_networks(model.config):
        raise InputError(f"parent: {config.parent} is not of preset {config.preset}")
    if loaded.model.config.snr_gains > model.config.snr_gains:
        raise InputError(f"parent: {config.parent} has snr_gains, preset {config.preset} has none")
    model.config = _model_config(config, loaded.model.config.roi_steering)
    for part in PARTS:
        if part not in config.fresh:
            source = loaded.model.get_submodule(part).state_dict()
            # Checked above: only the slots' gains can be missing, and they start as 1.
            model.get_submodule(part).load_state_dict(source, strict=False)
    return model, list(loaded.info.get("training", []))
