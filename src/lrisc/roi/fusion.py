"""From a mask to a weighted latent (v2 Eq. 1 to 4), or to a weighted rate rule.

A steering says what the region's weight is multiplied into: ``latent`` (the paper's way), ``rate``
(the bits that the rate rule of Eq. 3 sees), or ``both``. ``power`` is ``rate``, and what gets more
symbols gets them at more power, see `lrisc.link.packing`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE, STEERINGS, Steering

__all__ = ["FUSING", "STEERINGS", "Steering", "fuse", "latent_weight", "smooth", "steer_bits"]

FUSING = frozenset({"latent", "both"})
"""Those that weight the latent; all but ``latent`` weight the rate rule."""

_SMOOTHING = 17
_STEEPNESS = 10.0


def smooth(mask: Tensor) -> Tensor:
    """Soften a saliency map's edges: a convolution, then a sigmoid (v2 Eq. 1).

    The sigmoid is stretched so that nothing inside gives 0 and everything inside 1.

    Args:
        mask: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1], 0.5 where half of the neighbourhood is inside.
    """
    pad = _SMOOTHING // 2
    # A box filter twice is nearly a Gaussian; rows, then columns, it costs nothing.
    for _ in range(2):
        mask = F.pad(mask, (pad,) * 4, mode="replicate")
        mask = F.avg_pool2d(
            F.avg_pool2d(mask, (_SMOOTHING, 1), stride=1), (1, _SMOOTHING), stride=1
        )
    end = math.tanh(_STEEPNESS / 4)
    # The sigmoid, written as the odd function it is about 1/2.
    return (torch.tanh(_STEEPNESS / 2 * (mask - 0.5)) / end + 1) / 2


def latent_weight(mask: Tensor, gamma: Tensor) -> Tensor:
    """Weight of every embedding, w = gamma + (1 - gamma) · m (v2 Eq. 2 and 3).

    m is the smooth mask's mean over a patch, relative to the largest: otherwise a region smaller
    than a patch would be smoothed away.

    Args:
        mask: (B, 1, H, W) in [0, 1], H and W multiples of 16.
        gamma: scaling factor in (0, 1], (B,); 1 switches the region off.

    Returns:
        (B, 1, H/16, W/16) in [gamma, 1].
    """
    inside = F.avg_pool2d(smooth(mask), LATENT_STRIDE)
    inside = inside / inside.amax((2, 3), keepdim=True).clamp(min=1e-6)
    g = gamma[:, None, None, None]
    return g + (1 - g) * inside


def fuse(latent: Tensor, mask: Tensor, gamma: Tensor) -> Tensor:
    """Weight the latent, sparing the first quarter of its channels (v2 Eq. 4).

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


def steer_bits(bits: Tensor, mask: Tensor, gamma: Tensor) -> Tensor:
    """Weight what the rate rule sees, k_i = Q(beta · w_i · bits_i); the latent stays as it is.

    Args:
        bits: -log2 p(z_i | y), (B, h, w).
        mask: (B, 1, 16h, 16w) in [0, 1].
        gamma: (B,) in (0, 1].

    Returns:
        (B, h, w).
    """
    return bits * latent_weight(mask, gamma)[:, 0]
