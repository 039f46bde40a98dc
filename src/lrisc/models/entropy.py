"""h_e, h_d and the two learned densities that say how much each embedding matters."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.models.config import ModelConfig

SCALE_FLOOR = 0.1
"""Smallest standard deviation of the Gaussian, as in CDC: keeps its gradient finite."""
LIKELIHOOD_FLOOR = 1e-9


class _LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient still flows where it would raise x (Ballé et al. 2018)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (x,) = ctx.saved_tensors
        grad = grad_outputs[0]
        keep = (x >= ctx.bound) | (grad < 0)
        return grad * keep, None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """``max(x, bound)`` elementwise; the gradient passes wherever it would raise ``x``."""
    return cast(Tensor, _LowerBound.apply(x, bound))


class GaussianConditional(nn.Module):
    """p(z | y): a Gaussian convolved with U(-1/2, 1/2), Eq. 2."""

    def forward(self, z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """Likelihood of every element, same shape as ``z``, in [1e-9, 1]."""
        scale = lower_bound(scale, SCALE_FLOOR)
        # On the side of the tail where erfc keeps its precision.
        distance = (z - mean).abs()
        upper = _normal_cdf((0.5 - distance) / scale)
        lower = _normal_cdf((-0.5 - distance) / scale)
        return lower_bound(upper - lower, LIKELIHOOD_FLOOR)


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * (2**-0.5))


class FactorizedPrior(nn.Module):
    """p(y): one learned density per channel, a monotone network for its CDF.

    Ballé et al. 2018, "Variational image compression with a scale hyperprior", appendix 6.1.
    """

    def __init__(self, channels: int, filters: tuple[int, ...] = (3, 3, 3)) -> None:
        super().__init__()
        widths = (1, *filters, 1)
        scale = 10.0 ** (1 / (len(widths) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            init = math.log(math.expm1(1 / scale / b))
            self.matrices.append(nn.Parameter(torch.full((channels, b, a), init)))
            self.biases.append(nn.Parameter(torch.empty(channels, b, 1).uniform_(-0.5, 0.5)))
            if i < len(widths) - 2:
                self.factors.append(nn.Parameter(torch.zeros(channels, b, 1)))

    def _logits(self, x: Tensor) -> Tensor:
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = F.softplus(matrix) @ x + bias
            if i < len(self.factors):
                x = x + torch.tanh(self.factors[i]) * torch.tanh(x)
        return x

    def forward(self, y: Tensor) -> Tensor:
        """Likelihood of every element of ``y`` (B, N, h, w), same shape, float32."""
        flat = y.float().transpose(0, 1).reshape(y.shape[1], 1, -1)
        lower = self._logits(flat - 0.5)
        upper = self._logits(flat + 0.5)
        # Work on the side of the median where sigmoids do not cancel.
        sign = -torch.sign(lower + upper).detach()
        p = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        p = lower_bound(p, LIKELIHOOD_FLOOR)
        return p.reshape(y.shape[1], y.shape[0], *y.shape[2:]).transpose(0, 1)


class _UpsamplingConv(nn.ConvTranspose2d):
    """Transposed convolution, 5×5, stride 2, that sees the border repeated instead of zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 5, stride=2, padding=2, output_padding=1)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, h, w) -> (B, C, 2h, 2w)."""
        wider = F.pad(input, (1, 1, 1, 1), mode="replicate")
        return super().forward(wider, output_size)[..., 2:-2, 2:-2]


class Densities(NamedTuple):
    """What the hyperprior says of a latent; everything float32."""

    latent: Tensor
    """z as given, or with uniform noise, (B, C, h, w)."""
    p_latent: Tensor
    """p(z | y) of every element, (B, C, h, w), in [1e-9, 1]."""
    p_hyper_latent: Tensor
    """p(y) of every element, (B, N, ceil(h/4), ceil(w/4)), in [1e-9, 1]."""


class Hyperprior(nn.Module):
    """h_e, h_d, p(y) and p(z | y): convolutions with ReLU, two halvings (Sec. III-A.1).

    ::

        z ─ conv3 ─ conv5/2 ─ conv5/2 ─► y ─ deconv5/2 ─ deconv5/2 ─ conv3 ─► (mu, sigma)

    Borders are repeated, never zero: a crop of training is nearly all border, the inside of a
    picture has none, and with zeros the densities are right for the crop only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, n = config.latent_channels, config.hyper_channels
        self.encoder = nn.Sequential(
            nn.Conv2d(c, n, 3, padding=1, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(n, n, 5, stride=2, padding=2, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(n, n, 5, stride=2, padding=2, padding_mode="replicate"),
        )
        self.decoder = nn.Sequential(
            _UpsamplingConv(n),
            nn.ReLU(),
            _UpsamplingConv(n),
            nn.ReLU(),
            nn.Conv2d(n, 2 * c, 3, padding=1, padding_mode="replicate"),
        )
        self.prior = FactorizedPrior(n)
        self.conditional = GaussianConditional()

    def forward(
        self, latent: Tensor, *, noisy: bool, noise: tuple[Tensor, Tensor] | None = None
    ) -> Densities:
        """Densities of a latent.

        Args:
            latent: z (or z'), (B, C, h, w).
            noisy: training: add U(-1/2, 1/2) to z and y; otherwise y is rounded.
            noise: what to add to z and y, of their shapes; drawn here by default.
        """
        latent = latent.float()
        h, w = latent.shape[-2:]
        padded = F.pad(latent, (0, -w % 4, 0, -h % 4), mode="replicate")
        y = self.encoder(padded).float()
        if noisy:
            if noise is None:
                noise = (
                    torch.empty_like(latent).uniform_(-0.5, 0.5),
                    torch.empty_like(y).uniform_(-0.5, 0.5),
                )
            latent, y = latent + noise[0], y + noise[1]
        else:
            y = y.round()
        mean, scale = self.decoder(y)[..., :h, :w].float().chunk(2, dim=1)
        p_latent = self.conditional(latent, mean, F.softplus(scale))
        return Densities(latent, p_latent, self.prior(y))


def bits(likelihood: Tensor) -> Tensor:
    """Total -log2 of a likelihood tensor (B, ...) per picture, (B,)."""
    return -likelihood.log2().flatten(1).sum(1)


def embedding_bits(likelihood: Tensor) -> Tensor:
    """-log2 p(z_i | y) of every embedding: (B, C, h, w) -> (B, h, w)."""
    return -likelihood.log2().sum(1)
