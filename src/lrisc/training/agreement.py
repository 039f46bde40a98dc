"""What all processes of a run agree on after a step: figures, what to do next, and the time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor


class Agreement(NamedTuple):
    """What one process asks for, or all of them have agreed on.

    Attributes:
        over: the time of this call is used up.
        save: it is time to save the state.
        validate: it is time to validate.
        interrupted: a signal asked to stop.
        seconds: wall time of the run.
    """

    over: bool = False
    save: bool = False
    validate: bool = False
    interrupted: bool = False
    seconds: float = 0.0


def agree(
    accelerator: Accelerator, wish: Agreement, figures: dict[str, Tensor]
) -> tuple[Agreement, dict[str, float]]:
    """Add up figures and wishes over the processes, in one small sum.

    Only the first process's clock counts, or the processes would part ways; a signal to any of them
    counts for all.

    Args:
        accelerator: the processes.
        wish: of this one.
        figures: scalars of this one.

    Returns:
        What holds for all, and the sum of every figure.
    """
    clock = wish if accelerator.is_main_process else Agreement()
    flags = clock._replace(interrupted=wish.interrupted)
    numbers = torch.stack(list(figures.values())).double()
    joint: Any = torch.cat([numbers, numbers.new_tensor([float(flag) for flag in flags])])
    summed: Any = accelerator.reduce(joint, "sum")
    totals: list[float] = summed.tolist()
    over, save, validate, interrupted, seconds = totals[len(figures) :]
    agreed = Agreement(over > 0, save > 0, validate > 0, interrupted > 0, seconds)
    return agreed, dict(zip(figures, totals[: len(figures)], strict=True))
