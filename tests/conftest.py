"""Shared fixtures: a tiny checkpoint with random weights, and a real photograph."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests import helpers

from lrisc import checkpoint, system, transmission
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
def compact() -> LoadedCheckpoint:
    """The shipped weights."""
    return load_checkpoint("compact")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> helpers.Run:
    """``lrisc ARGUMENTS`` in this process."""

    def run(*arguments: object) -> helpers.Ran:
        capsys.readouterr()
        code = helpers.run(monkeypatch, *arguments)
        return helpers.Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def run_tiny(run: helpers.Run, tiny_folder: Path) -> helpers.Run:
    """The same with the tiny checkpoint."""
    return lambda *arguments: run(*arguments, "--model", tiny_folder)


@pytest.fixture
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load a checkpoint is a failure."""

    def load(*_: object) -> None:
        pytest.fail("networks were loaded")

    for module in (checkpoint, system, transmission):
        monkeypatch.setattr(module, "load_checkpoint", load)


@pytest.fixture(scope="session")
def portrait_path() -> Path:
    """matplotlib's sample portrait, a real photograph that comes with a dependency."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def portrait(portrait_path: Path) -> Image.Image:
    return Image.open(portrait_path).convert("RGB")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that start processes by their fixtures; skips those for a GPU without one."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        if {"start_training", "server", "guarded_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.process)
