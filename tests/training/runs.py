"""What tests of whole training runs share."""

import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from lrisc.training.state import read_progress

Overrides = Callable[..., list[str]]
Train = Callable[..., str]
Start = Callable[..., Any]

TINY = Path(__file__).parents[2] / "configs" / "tiny"
"""Configs of the tiny preset."""


def save_pictures(folder: Path, count: int, width: int = 80, height: int = 72) -> None:
    """Smooth random pictures that differ from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")


def overrides(values: Mapping[str, object], changed: Mapping[str, object]) -> list[str]:
    """``key=value`` of everything; in the names of what is changed ``__`` stands for a dot."""
    everything = {**values, **{key.replace("__", "."): value for key, value in changed.items()}}
    return [f"{key}={value}" for key, value in everything.items()]


def lines(folder: Path, group: str = "train") -> list[dict[str, Any]]:
    """What a run has logged."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["group"] == group]


def check_that_a_killed_run_ends_as_a_whole_one(
    start: Start,
    config: Path,
    options: Overrides,
    folder: Path,
    steps: int,
    kills: tuple[int, ...] = (2,),
    **settings: object,
) -> dict[str, torch.Tensor]:
    """SIGKILL soon after so many lines of the log; the states agree to the bit, and are returned.

    The runs are in ``folder``: "whole" and "cut".
    """
    settings = {"steps": steps, "save_minutes": 0, **settings}
    whole = start(config, options(output=folder / "whole", **settings))
    cut = options(output=folder / "cut", **settings)
    metrics, state = folder / "cut" / "metrics.jsonl", folder / "cut" / "state.safetensors"
    dice = random.Random(5)
    for least in kills:
        process = start(config, cut)
        while process.poll() is None:
            if metrics.is_file() and metrics.read_text().count("\n") >= least:
                time.sleep(dice.uniform(0, 0.05))
                process.kill()
                break
            time.sleep(0.01)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert read_progress(state).step < steps
    for process in (start(config, cut), whole):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    first, second = (load_file(folder / n / "state.safetensors") for n in ("whole", "cut"))
    assert first.keys() == second.keys()
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key
    return first
