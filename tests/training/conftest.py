"""A folder of small pictures and the shortest possible training runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.training import runs
from tests.training.runs import TINY, Overrides, Start, Train, save_pictures

from lrisc.training.config.schema import DataConfig
from lrisc.training.data.squares import Squares, open_pictures
from lrisc.training.schedule import run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes with one thread, and so the same in every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    save_pictures(folder, 24)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def squares(pictures: Path, cache: Path) -> Squares:
    data = DataConfig(crop=64, square=64, cache=str(cache))
    return open_pictures((str(pictures),), data).squares


@pytest.fixture
def short(pictures: Path, cache: Path, tmp_path: Path) -> Overrides:
    """Overrides for a run of a few steps without LPIPS in ``tmp_path / "run"``."""

    def overrides(**changed: object) -> list[str]:
        values: dict[str, object] = {
            "data": pictures,
            "output": tmp_path / "run",
            "crops.cache": cache,
            "loss.lpips": 0,
            "steps": 4,
            "batch_size": 4,
            "log_every": 1,
            "optimiser.warmup_steps": 1,
            "validate.pictures": 2,
            "validate.snr_db": [10],
            "validate.cbr": ["1/24"],
            "prior_pictures": 4,
            "parent": "",
        }
        return runs.overrides(values, changed)

    return overrides


@pytest.fixture
def train(short: Overrides) -> Train:
    """How a short run of a stage of the tiny preset ends."""
    return lambda stage="stage1", **changed: run(TINY / f"{stage}.yaml", short(**changed))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where such a run keeps its state."""
    return tmp_path / "run" / "state.safetensors"


def _start_training(
    config: Path, overrides: list[str], processes: int = 1, module: str = "lrisc.training"
) -> subprocess.Popen[str]:
    """``python -m MODULE``, one thread per process, under torchrun if asked."""
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*launcher, module, str(config), *overrides],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def start_training() -> Start:
    return _start_training
