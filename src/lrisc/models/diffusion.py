"""The diffusion schedule and DDIM, for a network that predicts x0."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

_OFFSET = 0.008


def alpha(time: Tensor) -> Tensor:
    """Cumulative alpha_n of the cosine schedule (Nichol & Dhariwal 2021) at time n/N.

    Exactly 1 at time 0, so that the last DDIM step returns the prediction itself.
    """
    angle = (time.double() + _OFFSET) / (1 + _OFFSET) * (math.pi / 2)
    start = math.cos(_OFFSET / (1 + _OFFSET) * (math.pi / 2))
    value = (torch.cos(angle) / start).square().clamp(1e-9, 1.0)
    return value.to(time.dtype)


def add_noise(image: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """x_n = sqrt(alpha_n) x_0 + sqrt(1 - alpha_n) epsilon (Algorithm 1, line 5)."""
    a = alpha(time)[:, None, None, None]
    return a.sqrt() * image + (1 - a).sqrt() * noise


WEIGHT_CEILING = 5.0
"""Where the weight of Eq. 7 is clipped. The paper names no ceiling, but without one the smallest
times would be all that is trained; 5 is Min-SNR-gamma's (Hang et al. 2023, arXiv 2303.09556), which
CDC's code, the paper's ancestor, uses too."""


def loss_weight(time: Tensor) -> Tensor:
    """alpha_n / (1 - alpha_n), the SNR of x_n, at most :data:`WEIGHT_CEILING` (Eq. 7), (B,)."""
    a = alpha(time)
    return (a / (1 - a).clamp(min=1e-9)).clamp(max=WEIGHT_CEILING)


def ddim(
    predict: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    steps: int,
) -> Tensor:
    """Deterministic reverse process (Eq. 8, eta = 0).

    Args:
        predict: (x_n, time (B,)) -> x̂0; x̂0 is clamped here and epsilon derived from the clamped.
        start: x_N, (B, 3, H, W).
        steps: number of network evaluations, at least 1.

    Returns:
        x̂0 in [-1, 1].

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    times = torch.linspace(1.0, 0.0, steps + 1, device=start.device)
    x = start
    for now, then in itertools.pairwise(times):
        clean = predict(x, now.expand(x.shape[0])).clamp(-1, 1)
        a, b = alpha(now), alpha(then)
        epsilon = (x - a.sqrt() * clean) / (1 - a).sqrt()
        x = b.sqrt() * clean + (1 - b).sqrt() * epsilon
    return x
