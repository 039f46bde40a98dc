"""A region of interest as one object: what is favoured, how much, and what that weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrisc.device import CPU
from lrisc.errors import InputError, finite
from lrisc.models.config import STEERINGS, Steering
from lrisc.roi.fusion import FUSING, fuse, steer_bits
from lrisc.roi.masks import RoiLike, region_mask

DEFAULT_GAMMA = 0.45
"""Weight of the background where nobody says another."""
DEFAULT_STEERING: Steering = "power"
"""What gamma weights where no region was ever trained; measured in docs/decisions/region.md."""


@dataclass(frozen=True)
class Region:
    """A region of interest as a user asks for it.

    Attributes:
        mask: what is favoured, see :func:`lrisc.roi.masks.region_mask`; ``None``: nothing.
        gamma: weight of the background in (0, 1]; smaller favours the region more.
        steering: what gamma weights: ``latent``, ``rate`` (the bits of the rate rule), ``both``, or
            ``power`` (``rate``, and the power follows); ``None``: what the checkpoint was trained
            with.

    Raises:
        InputError: gamma or steering cannot be used.
    """

    mask: RoiLike | None
    gamma: float = DEFAULT_GAMMA
    steering: Steering | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if not 0 < finite(self.gamma, "roi strength") <= 1:
            raise InputError(f"roi strength must lie in (0, 1], not {self.gamma:g}")
        if self.steering is not None and self.steering not in STEERINGS:
            raise InputError(f"roi steering {self.steering!r} is none of {', '.join(STEERINGS)}")

    @classmethod
    def of(cls, roi: Region | RoiLike | None) -> Region:
        """A region with the default strength, unless it is one already."""
        return roi if isinstance(roi, Region) else cls(roi)

    def mask_on(self, picture: Tensor, device: torch.device = CPU) -> Tensor | None:
        """The mask for a picture (3, H, W): (H, W) in [0, 1], ``None`` where nothing is favoured.

        The package's own detector runs on ``device``.

        Raises:
            InputError: see :func:`lrisc.roi.masks.region_mask`.
        """
        return region_mask(self.mask, picture, device)


@dataclass(frozen=True)
class Regions:
    """Regions of a batch of pictures, as the encoder sees them.

    Attributes:
        mask: (B, 1, H, W) in [0, 1], H and W multiples of 16; zero where there is no region.
        gamma: weight of the background in (0, 1], (B,); 1 where there is no region.
        steering: what gamma weights.
    """

    mask: Tensor
    gamma: Tensor
    steering: Steering

    def weigh_latent(self, latent: Tensor) -> Tensor:
        """Z' of z, (B, C, h, w); the same where the latent is not steered."""
        return fuse(latent, self.mask, self.gamma) if self.steering in FUSING else latent

    def weigh_bits(self, bits: Tensor) -> Tensor:
        """Bits as the rate rule sees them, (B, h, w); the same where the rate is not steered."""
        return bits if self.steering == "latent" else steer_bits(bits, self.mask, self.gamma)

    def uneven(self) -> Tensor:
        """Which pictures' power follows their rate map, (B,) bool."""
        if self.steering == "power":
            return self.gamma < 1
        return torch.zeros_like(self.gamma, dtype=torch.bool)
