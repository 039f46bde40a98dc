"""What several tests make."""

import csv
import importlib.util
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lrisc import cli
from lrisc.errors import InputError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of ``lrisc ARGUMENTS`` in this process."""
    monkeypatch.setattr(sys, "argv", ["lrisc", *(str(a) for a in arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by the names in its head."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@contextmanager
def served(folder: Path, *arguments: str) -> Generator[str]:
    """Address of a page whose temporary files go to a folder; none of them stays behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lrisc", "app", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "HF_HUB_OFFLINE": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            break
    else:
        pytest.fail("the server did not start")
    try:
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped by SIGTERM after" in errors.splitlines()[-1]
    assert list(folder.iterdir()) == []


def load_script(path: str) -> ModuleType:
    """The module of a program that is no part of the package, by its path in the repository."""
    file = Path(__file__).parents[1] / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A smooth random picture, (3, H, W) in [0, 1]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Other weights than were written, and no hash that would tell."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    forget_hash(folder)


def forget_hash(folder: Path) -> None:
    """Other weights than were written are wanted: config.json shall not name the old ones."""
    path = folder / "config.json"
    info = json.loads(path.read_text())
    info.pop("weights_sha256", None)
    path.write_text(json.dumps(info))


def refused(folder: Path, load: Callable[[Path], object], message: str | None = None) -> None:
    """The folder is refused in one line, which takes little time and memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message) as told:
        load(folder)
    assert time.process_time() - start < 5
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600
