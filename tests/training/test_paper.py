"""The paper's own networks and schedule, from the command line, on one step a stage."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.training.runs import save_pictures

CONFIG = Path(__file__).parents[2] / "configs" / "paper" / "all.yaml"
TIMEOUT = 300


def lrisc(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lrisc", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.process
def test_all_four_stages_then_transmit(pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    settings = {
        "data": pictures, "output": root, "crops.cache": tmp_path / "cache", "crops.crop": 64,
        "epochs": 0, "steps": 1, "batch_size": 2, "precision": "fp32", "compile": "false",
        "loss.lpips": 0, "log_every": 1, "prior_pictures": 2, "validate.pictures": 1,
        "validate.side": 64, "validate.steps": 1, "validate.snr_db": "[10]",
        "validate.cbr": "[1/24]", "validate.minutes": 0,
    }  # fmt: skip
    save_pictures(tmp_path / "masks", 24)
    masks = f"stage3.roi.masks={tmp_path / 'masks'}"
    lrisc("train", CONFIG, *(f"{key}={value}" for key, value in settings.items()), masks)
    stages = ("stage1", "stage2a", "stage2b", "stage3")
    for name in stages:
        first = json.loads((root / name / "metrics.jsonl").read_text().splitlines()[0])
        assert first["mse"] > 0
        assert first["weighted_mse"] > 0
        assert any(key.startswith("mse@t<") for key in first)
        assert "mse@one step" not in first
    info = json.loads((root / "final" / "config.json").read_text())
    assert [stage["stage"] for stage in info["training"]] == list(stages)
    model = info["model"]
    assert (model["decode_steps"], model["sigma_start"]) == (8, 0.8)
    assert model["roi_steering"] == "latent"
    picture = next(pictures.iterdir())
    out = tmp_path / "out"
    lrisc(
        "transmit", picture, "--model", root / "final", "--beta", "0.2", "--steps", "2",
        "--out", out,
    )  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["sigma_start"] == 0.8
    with Image.open(out / "reconstruction.png") as made, Image.open(picture) as sent:
        assert made.size == sent.size
