"""DeepJSCC through the real loop: it learns, resumes to the bit and leaves a codec."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training import runs
from tests.training.runs import Overrides, Start

from lrisc.baselines.deepjscc.codec import DeepJscc
from lrisc.errors import InputError
from lrisc.training.data.squares import Squares
from lrisc.training.schedule import run
from lrisc.training.tasks.deepjscc import ship

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CONFIG = Path(__file__).parents[2] / "configs" / "deepjscc" / "1-48.yaml"


@pytest.fixture
def few(tmp_path: Path, squares: Squares) -> Overrides:
    """Overrides for short runs on a few squares."""
    np.save(tmp_path / "squares.npy", np.tile(squares[:6], (4, 1, 1, 1)))

    def overrides(**changed: object) -> list[str]:
        values: dict[str, object] = {
            "data": tmp_path / "squares.npy",
            "output": tmp_path / "run",
            "schedule": "steps",
            "steps": 4,
            "batch_size": 4,
            "log_every": 1,
            "compile": "false",
            "crops.crop": 64,
            "crops.square": 64,
            "validate.minutes": 0,
            "validate.pictures": 4,
            "validate.side": 64,
            "optimiser.warmup_steps": 5,
        }
        return runs.overrides(values, changed)

    return overrides


def test_it_learns_and_leaves_a_codec(few: Overrides, tmp_path: Path) -> None:
    assert run(CONFIG, few(steps=300, log_every=50, optimiser__ema=0.9)) == "finished"
    loss = [line["loss"] for line in runs.lines(tmp_path / "run")]
    assert loss[-1] < 0.2 * loss[0]
    figures = runs.lines(tmp_path / "run", "validation")[-1]
    assert figures["psnr@0dB"] < figures["psnr@10dB"] < figures["psnr@20dB"]
    codec = DeepJscc.from_pretrained(tmp_path / "run" / "final")
    assert codec.snr_db == (-2.0, 20.0)
    card = (tmp_path / "run" / "final" / "README.md").read_text()
    for fact in ("CBR 1/48", "-2 to 20 dB", "psnr@10dB", "squares.npy", "1,200"):
        assert fact in card
    assert str(tmp_path) not in json.dumps(codec.info) + card

    # A codec with other channels takes over what fits.
    options = few(steps=1, output=tmp_path / "next", parent=tmp_path / "run" / "final")
    options += ["preset=deepjscc-4", "link.snr_db=[10,10]", "optimiser.learning_rate=0"]
    assert run(CONFIG, options) == "finished"
    child = DeepJscc.from_pretrained(tmp_path / "next" / "final")
    assert child.snr_db == (10.0, 10.0)
    assert [r["steps"] for r in child.info["training"]] == [300, 1]
    codec.network.balance()
    mine, parent = child.network.state_dict(), codec.network.state_dict()
    fresh = {"encoder.1.0.weight", "encoder.1.0.bias", "decoder.0.0.weight"}
    for name, tensor in parent.items():
        if name not in fresh:  # what is handed over is float32
            torch.testing.assert_close(mine[name], tensor, rtol=1e-5, atol=1e-7)
    assert mine["encoder.1.0.weight"].shape[0] == 4

    ship(tmp_path / "run" / "final", tmp_path / "shipped")
    stored = load_file(tmp_path / "shipped" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    shipped = DeepJscc.from_pretrained(tmp_path / "shipped")
    assert shipped.info["training"] == codec.info["training"]
    assert "float16" in (tmp_path / "shipped" / "README.md").read_text()
    assert "float32" in card


@pytest.mark.parametrize(
    "override",
    ["loss.lpips=0.5", "link.cbr=[1/48,1/24]", "roi.fraction=0.3", "train=[unet]",
     "validate.cbr=[1/48]", "validate.metric=lpips"],
)  # fmt: skip
def test_keys_that_it_does_not_use_are_refused(few: Overrides, override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(InputError, match=r"unknown key|is none of psnr") as caught:
        run(CONFIG, [*few(), override])
    assert key in str(caught.value) or key.partition(".")[0] in str(caught.value)


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_killed_and_resumed_equals_uninterrupted(
    few: Overrides, start_training: Start, tmp_path: Path, compiled: str
) -> None:
    settings = {"compile": compiled, "log_every": 5}
    settings["link.channels"] = "{awgn: 0.5, rayleigh: 0.5}"
    runs.check_that_a_killed_run_ends_as_a_whole_one(
        start_training, CONFIG, few, tmp_path, 30, **settings
    )
