"""The linear channels' start: principal components of 16×16 patches."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE
from lrisc.models.lrisc import Lrisc
from lrisc.training.data import Squares, to_signal

_SKIPPED = 16
"""Leading components: large, and what the networks learn first by themselves."""
_PICTURES = 512


def start_linear_channels(model: Lrisc, squares: Squares) -> None:
    """Set both linear transforms to the principal components after the first few, in place.

    Gradient descent takes long to find many channels that each carry little: of 160 that started
    at random, 112 were still without use after 200,000 crops.

    Args:
        model: with ``linear_channels``; without, nothing happens.
        squares: training pictures, (n, side, side, 3) uint8.
    """
    analysis, synthesis = model.analysis.linear, model.context.linear
    if analysis is None or synthesis is None:
        return
    chosen = np.linspace(0, len(squares) - 1, min(len(squares), _PICTURES)).astype(int)
    size = 3 * LATENT_STRIDE**2
    moments = torch.zeros(size, size)
    for index in chosen:
        picture = to_signal(torch.from_numpy(np.array(squares[index]))[None].permute(0, 3, 1, 2))
        side = picture.shape[-1] // LATENT_STRIDE * LATENT_STRIDE
        patches = F.pixel_unshuffle(picture[..., :side, :side], LATENT_STRIDE).flatten(2)[0].T
        moments += patches.T @ patches
    vectors = torch.linalg.eigh(moments).eigenvectors.flip(1)
    first = min(_SKIPPED, size - analysis.out_channels)
    components = vectors[:, first : first + analysis.out_channels]
    with torch.no_grad():
        analysis.weight.copy_(components.T[:, :, None, None])
        synthesis.weight.copy_(components[:, :, None, None])
