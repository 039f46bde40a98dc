"""X_theta: the conditional U-Net that predicts the clean picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.models.config import LATENT_STRIDE, LINEAR_STEP, ModelConfig
from lrisc.models.layers import ChannelNorm, LinearAttention, ResNetBlock, downsample, upsample


class Condition(NamedTuple):
    """What the U-Net is told of the picture.

    Attributes:
        levels: features for the first levels, finest first.
        base: linear part of the picture, (B, 3, H, W), added to the prediction; ``None``: none.
    """

    levels: list[Tensor]
    base: Tensor | None


def _attention(channels: int, heads: int) -> nn.Module:
    return LinearAttention(channels, heads) if heads else nn.Identity()


class ContextPath(nn.Module):
    """ResNet blocks and transposed convolutions from the latent to the first U-Net levels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.ups = nn.ModuleList()
        channels, stride = config.latent_channels, LATENT_STRIDE
        for level in reversed(range(len(config.context_widths))):
            width = config.context_widths[level]
            target = config.patch * 2**level
            self.blocks.append(ResNetBlock(channels, width))
            self.ups.append(upsample(width, width) if stride > target else nn.Identity())
            channels, stride = width, target
        n = config.linear_channels
        self.linear = nn.Conv2d(n, 3 * LATENT_STRIDE**2, 1, bias=False) if n else None

    def forward(self, latent: Tensor) -> Condition:
        """ẑ (B, C, h, w) -> the U-Net's condition."""
        base = None
        if self.linear is not None:
            linear = self.linear(latent[:, -self.linear.in_channels :])
            base = F.pixel_shuffle(linear * LINEAR_STEP, LATENT_STRIDE)
        contexts: list[Tensor] = []
        for block, up in zip(self.blocks, self.ups, strict=True):
            latent = up(block(latent))
            contexts.insert(0, latent)
        return Condition(contexts, base)


class DownUnit(nn.Module):
    """Two ResNet blocks, attention, stride-2 convolution (last level: none)."""

    def __init__(self, c_in: int, c_out: int, heads: int, time: int, kernel: int, last: bool):
        super().__init__()
        self.block1 = ResNetBlock(c_in, c_out, time, kernel)
        self.block2 = ResNetBlock(c_out, c_out, time)
        self.attention = _attention(c_out, heads)
        self.down = nn.Identity() if last else downsample(c_out, c_out)

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the unit's features for the skip, and its output for the next level."""
        x = self.attention(self.block2(self.block1(x, time), time))
        return x, self.down(x)


class UpUnit(nn.Module):
    """Two ResNet blocks on features and skip, attention, transposed convolution."""

    def __init__(self, c_in: int, c_out: int, heads: int, time: int) -> None:
        super().__init__()
        self.block1 = ResNetBlock(c_in, c_out, time)
        self.block2 = ResNetBlock(c_out, c_out, time)
        self.attention = _attention(c_out, heads)
        self.up = upsample(c_out, c_out)

    def forward(self, x: Tensor, skip: Tensor, time: Tensor) -> Tensor:
        """(B, c, H, W) twice -> (B, c_out, 2H, 2W)."""
        x = torch.cat([x, skip], dim=1)
        return self.up(self.attention(self.block2(self.block1(x, time), time)))


class UNet(nn.Module):
    """Predicts x0 from x_n, the condition and the time n/N (Eq. 7).

    ::

        x_n, c_0 ─ down 0 ─┬─ down 1 ─┬─ … ─ down L-1 ─┬─ mid ─ up L-1 ─ … ─ up 1 ─ final ─► x0
                           └ skip to final   └ skip to up 1    └ skip to up L-1

    The condition c_j joins the input of the first levels by concatenation, as in CDC.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch = config.patch
        widths, time = config.unet_widths, config.time_channels
        heads = config.unet_attention
        pixels = 3 * config.patch**2
        self.time = nn.Sequential(nn.Linear(1, 4 * time), nn.GELU(), nn.Linear(4 * time, time))
        self.downs = nn.ModuleList()
        channels = pixels
        for j, width in enumerate(widths):
            context = config.context_widths[j] if j < len(config.context_widths) else 0
            kernel = config.unet_stem_kernel if j == 0 else 3
            last = j == len(widths) - 1
            self.downs.append(DownUnit(channels + context, width, heads[j], time, kernel, last))
            channels = width
        self.mid1 = ResNetBlock(channels, channels, time)
        self.mid_attention = _attention(channels, heads[-1])
        self.mid2 = ResNetBlock(channels, channels, time)
        self.ups = nn.ModuleList()
        for j in reversed(range(1, len(widths))):
            self.ups.append(UpUnit(2 * widths[j], widths[j - 1], heads[j - 1], time))
        self.final = nn.ModuleList(
            ResNetBlock((2 if i == 0 else 1) * widths[0], widths[0], time)
            for i in range(config.unet_final_blocks)
        )
        k = config.unet_final_kernel
        self.norm = ChannelNorm(widths[0])
        self.out = nn.Conv2d(widths[0], pixels, k, padding=k // 2)

    def forward(self, noisy: Tensor, condition: Condition, time: Tensor) -> Tensor:
        """One prediction of the clean picture.

        Args:
            noisy: x_n, (B, 3, H, W).
            condition: from :class:`ContextPath`.
            time: n/N in (0, 1], (B,).

        Returns:
            x̂0, (B, 3, H, W), unclamped.
        """
        contexts = condition.levels
        t = self.time(time[:, None].to(noisy.dtype))
        x = F.pixel_unshuffle(noisy, self.patch).contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for j, unit in enumerate(self.downs):
            if j < len(contexts):
                x = torch.cat([x, contexts[j]], dim=1)
            skip, x = unit(x, t)
            skips.append(skip)
        x = self.mid2(self.mid_attention(self.mid1(x, t)), t)
        for unit in self.ups:
            x = unit(x, skips.pop(), t)
        if len(self.final):
            x = torch.cat([x, skips.pop()], dim=1)
        for block in self.final:
            x = block(x, t)
        picture = F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.patch)
        return picture if condition.base is None else picture + condition.base
