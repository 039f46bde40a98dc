"""Muon: momentum whose update is orthogonalised, for the weight matrices; AdamW for the rest.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". torch's own
``torch.optim.Muon`` takes matrices only; most weights here are convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: steepest at zero, singular values end near 1."""
_ITERATIONS = 5
_MOMENTUM = 0.95
_SMALLEST = 32
"""A matrix with a side below this goes to AdamW: orthogonalising it has no point."""
_TABLES = ("rate_tokens", "position_bias", "hyperprior.prior", "time", "unet.out")
"""Not hidden matrices: embeddings, densities, and the layer that writes pixels."""


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values in about [0.7, 1.2].

    Args:
        matrix: (m, n); the iteration runs in bfloat16.

    Returns:
        (m, n) bfloat16.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.T


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves a parameter; the others get AdamW."""
    if parameter.ndim not in (2, 4) or any(part in name for part in _TABLES):
        return False
    return min(parameter.shape[0], parameter[0].numel()) >= _SMALLEST


class Muon(torch.optim.Optimizer):
    """Muon on hidden matrices and convolutions, AdamW on everything else.

    The update of a matrix of m × n is scaled by 0.2 · sqrt(max(m, n)), which gives it the root
    mean square of an update of Adam (Liu et al. 2025), so that one learning rate serves both.

    Args:
        model: whose trained parameters to move.
        lr: learning rate.
        betas: of AdamW.
        weight_decay: decoupled, of both.
        fused: whether AdamW runs in one kernel.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        fused: bool,
    ) -> None:
        trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in trained if is_hidden_matrix(n, p)]
        others = [p for n, p in trained if not is_hidden_matrix(n, p)]
        groups = [{"params": p, "matrices": p is matrices} for p in (matrices, others) if p]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self._adam: torch.optim.AdamW | None = None
        if others:
            self._adam = torch.optim.AdamW(
                others, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused
            )
            # One dictionary for both, so that a saved state holds everything.
            self._adam.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update.

        Args:
            closure: not supported, as there is nothing to evaluate again.
        """
        assert closure is None
        for group in self.param_groups:
            if group["matrices"]:
                self._move_matrices(group)
            elif self._adam is not None:
                self._adam.param_groups[0]["lr"] = group["lr"]
                self._adam.step()

    @torch.no_grad()
    def _move_matrices(self, group: dict[str, Any]) -> None:
        lr = cast(float, group["lr"])
        for p in cast(list[nn.Parameter], group["params"]):
            if p.grad is None:
                continue
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            momentum: Tensor = state["momentum"]
            momentum.lerp_(p.grad, 1 - _MOMENTUM)
            update = orthogonalise(p.grad.lerp(momentum, _MOMENTUM).flatten(1))
            scale = 0.2 * max(update.shape) ** 0.5
            p.mul_(1 - lr * group["weight_decay"])
            p.add_(update.view(p.shape).to(p.dtype), alpha=-lr * scale)
