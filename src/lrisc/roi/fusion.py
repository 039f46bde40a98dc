"""From a mask to a weighted latent (v2, Eq. 1 to 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE

_SMOOTHING = 17
_STEEPNESS = 10.0


def smooth(mask: Tensor) -> Tensor:
    """Soften a saliency map's edges: a convolution, then a sigmoid (Eq. 1).

    Args:
        mask: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) in (0, 1), 0.5 where half of the neighbourhood is inside.
    """
    pad = _SMOOTHING // 2
    # A box filter twice is nearly a Gaussian; rows, then columns, it costs nothing.
    for _ in range(2):
        mask = F.pad(mask, (pad,) * 4, mode="replicate")
        mask = F.avg_pool2d(
            F.avg_pool2d(mask, (_SMOOTHING, 1), stride=1), (1, _SMOOTHING), stride=1
        )
    return torch.sigmoid(_STEEPNESS * (mask - 0.5))


def latent_weight(mask: Tensor, gamma: Tensor) -> Tensor:
    """Weight of every embedding, w = gamma + (1 - gamma) · m (Eq. 2 and 3).

    Args:
        mask: (B, 1, H, W) in [0, 1], H and W multiples of 16.
        gamma: scaling factor in (0, 1], (B,); 1 switches the region off.

    Returns:
        (B, 1, H/16, W/16) in [gamma, 1].
    """
    inside = F.avg_pool2d(smooth(mask), LATENT_STRIDE)
    g = gamma[:, None, None, None]
    return g + (1 - g) * inside


def fuse(latent: Tensor, mask: Tensor, gamma: Tensor) -> Tensor:
    """Weight the latent, sparing the first quarter of its channels (Eq. 4).

    The spared channels keep the background's texture. The receiver needs no mask.

    Args:
        latent: z, (B, C, h, w).
        mask: (B, 1, 16h, 16w) in [0, 1].
        gamma: (B,) in (0, 1].

    Returns:
        z', (B, C, h, w).
    """
    weight = latent_weight(mask, gamma)
    spared = latent.shape[1] // 4
    return torch.cat([latent[:, :spared], latent[:, spared:] * weight], dim=1)
