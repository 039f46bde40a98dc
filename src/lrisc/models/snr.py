"""The SNR-adaptive model: features modulated by the SNR, coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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

    The trunk's last layer is a sigmoid gate as in SwinJSCC; it starts as the identity.
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

    def forward(self, x: Tensor, snr_db: Tensor) -> Tensor:
        """Features (B, n, channels) and SNR_i in dB (B, n) -> (B, n, channels)."""
        h = x
        for layer, modulation in zip(self.trunk, self.modulations, strict=False):
            h = layer(h) * modulation(snr_db)
        return x * 2 * torch.sigmoid(self.trunk[-1](h))
