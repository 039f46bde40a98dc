"""Building blocks shared by the analysis transform and the U-Net."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of every position, (B, C, H, W) -> same.

    Not GroupNorm: that is slow on CPUs, and its statistics run over the whole picture, so that
    a picture's result would change with its size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; statistics in float32 whatever the input's dtype."""
        if torch.is_grad_enabled() and not self.weight.requires_grad:
            return _FrozenNorm.apply(x, self.weight)
        return _normalise(x, self.weight)[0]


def _normalise(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised features and the factor of every position."""
    scale = torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-6).to(x.dtype)
    return x * scale * weight.to(x.dtype), scale


class _FrozenNorm(torch.autograd.Function):
    """The norm with its gradient written out: a third of autograd's time, without float copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y, scale = _normalise(x, weight)
        ctx.save_for_backward(x, scale, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, scale, weight = ctx.saved_tensors
        g = gradients[0] * weight.to(x.dtype)
        along = (g * x).sum(1, keepdim=True, dtype=torch.float32) / x.shape[1]
        pull = (along * scale.float() ** 3).to(x.dtype)
        return torch.addcmul(g * scale, x, pull, value=-1), None


class ResNetBlock(nn.Module):
    """norm, SiLU, conv, (time scale and shift,) norm, SiLU, conv, plus the skip.

    Args:
        c_in: input channels.
        c_out: output channels.
        time_channels: width of the time embedding, 0 for a block without one.
        kernel: kernel of the first convolution.
    """

    def __init__(self, c_in: int, c_out: int, time_channels: int = 0, kernel: int = 3) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
        self.norm2 = ChannelNorm(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.time = nn.Linear(time_channels, 2 * c_out) if time_channels else None
        if self.time is not None:
            nn.init.zeros_(self.time.weight)
            nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """(B, c_in, H, W) and a time embedding (B, time_channels) -> (B, c_out, H, W)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.time is not None and time is not None:
            scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class LinearAttention(nn.Module):
    """Attention linear in the number of positions (Shen et al. 2021), as in CDC's U-Net."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias if self.out.bias is not None else torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), residual included."""
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).unbind(1)
        q = q.float().softmax(dim=-2)
        k = k.float().softmax(dim=-1)
        context = torch.einsum("bhdn,bhen->bhde", k, v.float())
        y = torch.einsum("bhde,bhdn->bhen", context, q).reshape(b, c, h, w)
        return x + self.out(y.to(x.dtype))


def downsample(c_in: int, c_out: int) -> nn.Conv2d:
    """Convolution that halves height and width."""
    return nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)


def upsample(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """Transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)
