"""The SNR-adaptive model: features modulated by the SNR, coarse to fine."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GATE_LIMIT = 4.0
"""Largest magnitude of the logit behind the gate. A sigmoid that saturates has no gradient and
stays where it is for ever; at 4 its gradient is still 0.018."""


def _normalised(x: Tensor) -> Tensor:
    """``x`` over its root mean square along the channels, statistics in float32."""
    scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
    return x * scale.to(x.dtype)


class SnrModulation(nn.Module):
    """SM module: three fully connected layers from an SNR to one factor per feature."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )

    def forward(self, snr_db: Tensor) -> Tensor:
        """SNR_i in dB, (B, n) -> factors (B, n, channels) in (0, 2)."""
        # Twice the sigmoid: seven factors of 1/2 in a row would silence the trunk at the start.
        return 2 * torch.sigmoid(self.layers(snr_db.unsqueeze(-1) / 10))


class SnrAdaptive(nn.Module):
    """8 FC layers with 7 SM modules between them, ending in a gate on the features (Fig. 3).

    What enters a layer is normalised to a root mean square of 1 (not in the paper): eight linear
    layers in a row otherwise grow until the sigmoid of the gate is 0 or 1 whatever the SNR.
    The gate ``2 sigmoid(4 tanh(h / 4))`` starts as the identity and cannot saturate.
    """

    def __init__(self, channels: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))
        self.modulations = nn.ModuleList(SnrModulation(channels, hidden) for _ in range(layers - 1))
        for layer in self.trunk:
            assert isinstance(layer, nn.Linear)
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
        # The gate opens as the identity, also onto a codec that was trained without it.
        nn.init.zeros_(self.trunk[-1].get_parameter("weight"))

    def gate(self, x: Tensor, snr_db: Tensor) -> Tensor:
        """Factor on every feature, (B, n, channels) in (0, 2); arguments as for :meth:`forward`."""
        h = _normalised(x)
        for layer, modulation in zip(self.trunk, self.modulations, strict=False):
            h = _normalised(layer(h) * modulation(snr_db))
        logit = GATE_LIMIT * torch.tanh(self.trunk[-1](h) / GATE_LIMIT)
        return 2 * torch.sigmoid(logit)

    def forward(self, x: Tensor, snr_db: Tensor) -> Tensor:
        """Features (B, n, channels) and SNR_i in dB (B, n) -> (B, n, channels)."""
        return x * self.gate(x, snr_db)


class SlotGains(nn.Module):
    """Gain of every symbol slot by SNR and rate (not in the paper): f_e's powers, f_d's estimates.

    The best linear code over a noisy channel gives its parts other powers at every SNR, and its
    receiver shrinks each by its own SNR (Lee and Petersen 1976). The SNR-adaptive model stands
    before f_e's head and cannot do that for the linear way around it. The gain is
    exp(sum_j a_j phi_j(SNR)) with three functions that vanish at 10 dB; a is 0 at the start.
    """

    def __init__(self, levels: int, slots: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(levels, 3, slots))

    def forward(self, snr_db: Tensor, levels: Tensor) -> Tensor:
        """Gains, (B, n, slots) float32.

        Args:
            snr_db: SNR_i in dB, (B, n).
            levels: index into V, (B, n) int64.
        """
        distance = torch.tanh((snr_db.float() - 10) / 10)
        wiener = torch.sigmoid(snr_db.float() * (math.log(10) / 10)) - 10 / 11
        functions = torch.stack([distance, distance.square(), wiener], dim=-1)
        return torch.einsum("bnj,bnjs->bns", functions, self.log_gain[levels].float()).exp()
