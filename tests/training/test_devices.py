"""Where networks and draws are while training; without a GPU, ``meta`` stands in for one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.runs import TINY, Overrides

from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import LriscStage
from lrisc.training.schedule import read_schedule, run
from lrisc.training.validation import validate

NOISY = {"tiny": replace(PRESETS["tiny"], sigma_start=0.8)}


def stage(settings: list[str]) -> LriscStage:
    (config,) = read_schedule(TINY / "stage3.yaml", settings).stages
    assert isinstance(config, LriscStage)
    return config


def test_start_noise_of_a_validation_comes_from_the_cpu(
    short: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Callable[..., Any] = torch.Generator
    model = Lrisc(NOISY["tiny"]).eval()
    monkeypatch.setattr(torch, "Generator", lambda *device: pytest.fail("on it") if device else made())
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    first, again = (validate(model, None, pictures, stage(short())) for _ in range(2))
    assert first.figures == again.figures


@pytest.mark.gpu
def test_it_trains_and_validates_from_noise_on_a_gpu(
    short: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrisc.training.step.PRESETS", NOISY)
    assert run(TINY / "stage3.yaml", short(steps=1)) == "finished"
