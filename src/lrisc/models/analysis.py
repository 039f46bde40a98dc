"""g_e: the nonlinear analysis transform from picture to latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE, LINEAR_STEP, ModelConfig
from lrisc.models.layers import ResNetBlock, downsample


class Analysis(nn.Module):
    """ResNet blocks and stride-2 convolutions down to 1/16 of the picture's size (Sec. II-A).

    With ``linear_channels`` the last channels also get a linear transform of their 16×16 patch. Not
    in the paper: it starts as principal components, which a short training would not find.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch = config.patch
        stages: list[nn.Module] = []
        channels = 3 * config.patch**2
        for width in config.analysis_widths:
            for _ in range(config.analysis_blocks):
                stages.append(ResNetBlock(channels, width))
                channels = width
            stages.append(downsample(width, width))
        for _ in range(config.analysis_tail_blocks):
            stages.append(ResNetBlock(channels, config.latent_channels))
            channels = config.latent_channels
        self.stages = nn.Sequential(*stages)
        n = config.linear_channels
        self.linear = nn.Conv2d(3 * LATENT_STRIDE**2, n, 1, bias=False) if n else None

    def forward(self, image: Tensor) -> Tensor:
        """Picture in [-1, 1], (B, 3, H, W) with H and W multiples of 16 -> (B, C, H/16, W/16)."""
        x = F.pixel_unshuffle(image, self.patch).contiguous(memory_format=torch.channels_last)
        latent = self.stages(x)
        if self.linear is None:
            return latent
        linear = self.linear(F.pixel_unshuffle(image, LATENT_STRIDE)) / LINEAR_STEP
        rest = latent.shape[1] - linear.shape[1]
        return torch.cat([latent[:, :rest], latent[:, rest:] + linear], dim=1)
