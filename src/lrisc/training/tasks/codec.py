"""f_e and f_d alone, on stored latents: ten times the pictures of a step through all networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrisc.latent_link import send
from lrisc.link.draws import Draws
from lrisc.models.lrisc import Lrisc
from lrisc.training.conditions import draw_link, draw_regions
from lrisc.training.config.schema import LriscStage
from lrisc.training.data.latents import LatentData, open_latents
from lrisc.training.objective import Terms
from lrisc.training.step import compile_in_place
from lrisc.training.tasks.lrisc import LriscTask


class CodecStep(nn.Module):
    """Latents in, weighted squared error of what f_d makes of them out.

    Args:
        model: f_e and f_d of it are trained.
        lpips: of validation; only kept here, so that it goes where the networks go.
        config: of the stage.
    """

    worth: Tensor

    def __init__(self, model: Lrisc, lpips: nn.Module | None, config: LriscStage) -> None:
        super().__init__()
        self.model = model
        self.lpips = lpips
        self.config = config
        self.register_buffer("worth", torch.ones(model.config.latent_channels))

    def forward(self, stored: Tensor, draws: Draws, step: int) -> tuple[Tensor, Terms]:
        """Loss of a batch.

        Args:
            stored: (B, C + 1, h, w), see :class:`lrisc.training.data.latents.LatentData`.
            draws: of these samples.
            step: counted from 0.

        Returns:
            The loss, a mean over pictures; and detached sums for the log.
        """
        config = self.config
        latent, bits = stored[:, :-1].float(), stored[:, -1].float()
        b, h, w = bits.shape
        pictures = torch.empty(b, 0, 16 * h, 16 * w, dtype=torch.uint8, device=stored.device)
        regions = draw_regions(draws, config.roi, pictures)
        conditions = draw_link(draws, config.link, step)
        sent = send(self.model, latent, bits, conditions, draws, config.link.adapt, regions)
        squared = (sent.estimate - latent).square().mean((2, 3))
        error = (squared * self.worth).mean(1)
        terms = {
            "batch": torch.full((), float(b), device=stored.device),
            "latent": squared.detach().mean(1).sum(),
            "weighted_latent": error.detach().sum(),
        }
        return error.mean(), terms


class CodecTask(LriscTask):
    """LRISC with everything but f_e and f_d frozen, and its latents stored.

    Args:
        config: of the stage, with ``stored_latents``.
    """

    def __init__(self, config: LriscStage) -> None:
        super().__init__(config)
        self._latents: LatentData | None = None
        # The first step has frozen what is not trained.
        self.codec_step = CodecStep(self.model, self.lpips, config)

    @property
    def step(self) -> nn.Module:
        """See the class."""
        return self.codec_step

    @property
    def data(self) -> LatentData:
        """See :func:`lrisc.training.data.latents.open_latents`."""
        if self._latents is None:
            self._latents = open_latents(self.model, self.lpips, self.pictures, self.config)
            self.codec_step.worth.copy_(self._latents.worth)
        return self._latents

    def compile(self, device: torch.device) -> bool:
        """Compile f_e and f_d in place; returns whether that worked."""
        return compile_in_place([self.model.jscc_encoder, self.model.jscc_decoder], device)
