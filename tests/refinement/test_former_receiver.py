"""Frames made with effort are frames: the receivers of former releases paint them."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import run

REPOSITORY = Path(__file__).parents[2]
RELEASES = {"0.3.0": "c2561eb", "0.4.0": "21bb7bb"}
"""Commits; nothing newer belongs here before it is released."""


@pytest.fixture(params=RELEASES)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a release's package, code and weights, out of the history."""
    archive = subprocess.run(
        ["git", "archive", RELEASES[request.param], "src/lrisc"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        pytest.skip(f"the history does not reach back to {request.param}")
    folder = tmp_path / request.param
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as members:
        members.extractall(folder, filter="data")
    package = folder / "src" / "lrisc"
    assert f'"{request.param}"' in (package / "_version.py").read_text()
    return package


@pytest.mark.slow
@pytest.mark.process
def test_a_released_receiver_paints_a_frame_made_with_effort(
    released: Path, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code and weights of the release paint the very picture that today's receiver paints."""
    photo, weights = tmp_path / "photo.png", released / "weights" / "compact"
    portrait.crop((175, 40, 335, 200)).save(photo)
    sizes: set[int] = set()
    for effort in (0, 2):
        air = tmp_path / f"effort-{effort}.sigmf-meta"
        options = ("--snr", 20, "--effort", effort, "--model", weights)
        assert run(monkeypatch, "encode", photo, "-o", air, *options) == 0
        sizes.add(air.with_suffix(".sigmf-data").stat().st_size)
    plain, tried = (tmp_path / f"effort-{effort}.sigmf-data" for effort in (0, 2))
    assert len(sizes) == 1
    assert plain.read_bytes() != tried.read_bytes()

    there, here = tmp_path / "there.png", tmp_path / "here.png"
    start = (
        "import lrisc, runpy; print(lrisc.__file__); runpy.run_module('lrisc', run_name='__main__')"
    )
    told = subprocess.run(
        [sys.executable, "-c", start, "decode", air, "-o", there],
        env={**os.environ, "PYTHONPATH": str(released.parent)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert told.startswith(str(released))
    assert run(monkeypatch, "decode", air, "-o", here, "--model", weights) == 0
    painted = [np.asarray(Image.open(file)).astype(int) for file in (there, here)]
    assert np.abs(painted[0] - painted[1]).max() <= 1
    # And it is the photograph.
    assert np.abs(painted[0] - np.asarray(Image.open(photo)).astype(int)).mean() < 12
