"""The detector while it learns: it also imitates what AlexNet sees.

Maps say little about what a thing is; AlexNet's features do, and they need no labels (Romero et al.
2015, "FitNets: hints for thin deep nets"). The layers that guess them are dropped afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.metrics.lpips import Lpips
from lrisc.roi.saliency import SaliencyNet

HINT_CHANNELS = 256
"""Of AlexNet's last convolution, at 1/16 of the picture's sides."""


class Student(nn.Module):
    """A detector whose two coarsest levels guess AlexNet's features, by a linear layer each.

    Args:
        network: the detector.
    """

    def __init__(self, network: SaliencyNet) -> None:
        super().__init__()
        self.network = network
        widths = network.config.widths
        self.guesses = nn.ModuleList(nn.Conv2d(w, HINT_CHANNELS, 1) for w in widths[-2:])

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and guesses.

        Args:
            pictures: (B, 3, H, W) in [0, 1], H and W multiples of 32.

        Returns:
            (B, 1, H/4, W/4), and (B, 256, h, w) at 1/16 and at 1/32.
        """
        levels = self.network.encode(pictures)
        guesses = [guess(x) for guess, x in zip(self.guesses, levels[-2:], strict=True)]
        return self.network.decode(levels), guesses


@torch.no_grad()
def hints(trunk: Lpips, pictures: Tensor) -> Tensor:
    """Directions of AlexNet's last features.

    Args:
        trunk: with the backbone "alex".
        pictures: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 256, h, w) float32, of unit length over the channels.
    """
    return F.normalize(trunk.features(2 * pictures - 1)[-1].float(), dim=1)


def hint_loss(guesses: list[Tensor], wanted: Tensor) -> Tensor:
    """One minus the cosine between guess and hint, mean over positions, sum over levels.

    Args:
        guesses: (B, 256, h, w), brought to the hints' size.
        wanted: (B, 256, h, w) of unit length.
    """
    size = wanted.shape[-2:]
    enlarged = [F.interpolate(g.float(), size, mode="bilinear") for g in guesses]
    cosines = [(F.normalize(g, dim=1) * wanted).sum(1).mean() for g in enlarged]
    return len(cosines) - torch.stack(cosines).sum()
