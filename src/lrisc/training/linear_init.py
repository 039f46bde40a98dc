"""Where the linear channels start: principal components, and a way over the channel for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE
from lrisc.models.lrisc import Lrisc
from lrisc.training.data.crops import to_signal
from lrisc.training.data.squares import Squares

_SKIPPED = 16
"""Leading components: large, and what the networks learn first by themselves."""
_PICTURES = 512
"""How many pictures the components are taken from; a tenth of them for the deviations."""
_NETWORKS = 32
"""Real parts of an embedding's symbols that start without linear channels."""


def start_transforms(model: Lrisc, squares: Squares) -> None:
    """Make the linear transforms the principal components after the first few, in place.

    Gradient descent takes long to find many channels that each carry little: of 160 that started
    at random, 112 were still without use after 200,000 crops.

    Args:
        model: with ``linear_channels``; without, nothing happens.
        squares: training pictures, (n, side, side, 3) uint8.
    """
    analysis, synthesis = model.analysis.linear, model.context.linear
    if analysis is None or synthesis is None:
        return
    size = 3 * LATENT_STRIDE**2
    moments = torch.zeros(size, size)
    for picture in _some(squares, _PICTURES):
        patches = F.pixel_unshuffle(picture, LATENT_STRIDE).flatten(1).T
        moments += patches.T @ patches / len(patches)
    vectors = torch.linalg.eigh(moments).eigenvectors.flip(1)
    first = min(_SKIPPED, size - analysis.out_channels)
    components = vectors[:, first : first + analysis.out_channels]
    with torch.no_grad():
        analysis.weight.copy_(components.T[:, :, None, None])
        synthesis.weight.copy_(components[:, :, None, None])


@torch.no_grad()
def start_way(model: Lrisc, squares: Squares) -> None:
    """Let f_e send the linear channels and f_d read them from the first step on, in place.

    f_e gives them the real parts of the symbols after the first 32, largest first and then again
    from the start, with power in proportion to their standard deviation: the best linear choice
    at high SNR. f_d reads the first copy.

    Args:
        model: with ``linear_channels`` and an analysis to keep; without, nothing happens.
        squares: training pictures, (n, side, side, 3) uint8.
    """
    sent, received = model.jscc_encoder.linear, model.jscc_decoder.linear
    if sent is None or received is None:
        return
    count, device = sent.in_features, sent.weight.device
    pictures = (p[None].to(device) for p in _some(squares, 50))
    latents = [model.analysis(p)[0, -count:].flatten(1) for p in pictures]
    deviations, channels = torch.cat(latents, 1).std(1).clamp(min=1e-3).sort(descending=True)
    gains = deviations.rsqrt() / deviations.sqrt().mean()
    parts = torch.arange(_NETWORKS, sent.out_features, device=device)
    turn = (parts - _NETWORKS) % count
    for layer in model.jscc_encoder.head.modules():
        if isinstance(layer, nn.Linear):
            layer.weight[_NETWORKS:] = 0
            layer.bias[_NETWORKS:] = 0
    sent.weight.zero_()[parts, channels[turn]] = gains[turn]
    # A received real part has about the power 1/2.
    first = slice(0, count)
    received.weight.zero_()[channels[turn[first]], parts[first]] = 2**0.5 / gains[turn[first]]


def _some(squares: Squares, count: int) -> list[Tensor]:
    """Pictures from all over the data, (3, side, side) in [-1, 1], sides multiples of 16."""
    side = squares.shape[1] // LATENT_STRIDE * LATENT_STRIDE
    chosen = np.linspace(0, len(squares) - 1, min(len(squares), count)).astype(int)
    pictures = (torch.from_numpy(np.array(squares[i, :side, :side])) for i in chosen)
    return [to_signal(picture.permute(2, 0, 1)) for picture in pictures]
