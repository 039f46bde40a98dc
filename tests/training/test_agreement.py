"""Processes agree on one clock and on any signal."""

from typing import Any

import pytest
import torch

from lrisc.training.agreement import Agreement, agree


class Processes:
    """Stands in for the accelerator of one of several processes; adds what the others sent."""

    def __init__(self, first: bool, others: torch.Tensor | None = None) -> None:
        self.is_main_process = first
        self.others = others
        self.sent: Any = None

    def reduce(self, joint: torch.Tensor, how: str) -> torch.Tensor:
        assert how == "sum"
        self.sent = joint
        return joint if self.others is None else joint + self.others


@pytest.mark.parametrize("signalled", ["neither", "first", "second"])
def test_the_first_clock_counts_and_any_signal(signalled: str) -> None:
    figures = {"loss": torch.tensor(1.5), "count": torch.tensor(4.0)}
    wish = Agreement(save=True, interrupted=signalled == "first", seconds=7.0)
    other = Agreement(over=True, validate=True, interrupted=signalled == "second", seconds=99.0)
    second: Any = Processes(first=False)
    agree(second, other, figures)
    first: Any = Processes(True, second.sent)
    agreed, sums = agree(first, wish, figures)
    assert agreed == Agreement(save=True, interrupted=signalled != "neither", seconds=7.0)
    assert sums == {"loss": 3.0, "count": 8.0}
