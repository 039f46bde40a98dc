"""Shared fixtures: a tiny checkpoint with random weights, and a real photograph."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of the tiny preset, random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    save_checkpoint(folder, Lrisc(PRESETS["tiny"]))
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LoadedCheckpoint:
    return load_checkpoint(tiny_folder)


@pytest.fixture(scope="session")
def portrait_path() -> Path:
    """matplotlib's sample portrait, a real photograph that comes with a dependency."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def portrait(portrait_path: Path) -> Image.Image:
    return Image.open(portrait_path).convert("RGB")


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A smooth random picture, (3, H, W) in [0, 1]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
