"""The exponential moving average of a network's weights: what is validated and exported."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Ema:
    """Follows what is trained of a network, faster at first.

    Args:
        model: the network; averaged are the parameters that need a gradient, and the floating-point
            buffers (statistics of batch norms).
        decay: the largest; at step n (from 0) it is at most (n + 1) / (n + 20).

    Attributes:
        model: the average, frozen, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        weights = zip(model.parameters(), self.model.parameters(), strict=True)
        buffers = zip(model.buffers(), self.model.buffers(), strict=True)
        pairs = [(p, e) for p, e in weights if p.requires_grad]
        pairs += [(b, e) for b, e in buffers if b.is_floating_point()]
        self._now, self._average = ([pair[side] for pair in pairs] for side in (0, 1))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after an update of the optimiser."""
        decay = min(self._decay, (step + 1) / (step + 20))
        lerp: Any = torch._foreach_lerp_  # pyright: ignore
        lerp(self._average, self._now, 1 - decay)
