"""f_e and f_d on stored latents."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import TINY, Overrides, Train, lines

from lrisc.checkpoint import load_checkpoint
from lrisc.errors import InputError
from lrisc.training.config.schema import LriscStage
from lrisc.training.data.latents import LatentData
from lrisc.training.schedule import read_schedule, run
from lrisc.training.tasks.codec import CodecTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def parent(train: Train, tmp_path: Path) -> Path:
    """A checkpoint of one step, with a rough link."""
    train("stage3", output=tmp_path / "parent", steps=1)
    return tmp_path / "parent" / "final"


@pytest.fixture
def codec(parent: Path, short: Overrides) -> Overrides:
    def overrides(**changed: object) -> list[str]:
        settings: dict[str, object] = {
            "parent": parent,
            "stored_latents": "true",
            "train": "[jscc_encoder,jscc_decoder]",
            "roi.fraction": 0.5,
            "roi.detector_fraction": 0,
            "roi.steering": "power",
        }
        return short(**(settings | changed))

    return overrides


def test_the_codec_learns_and_nothing_else_moves(
    codec: Overrides, parent: Path, tmp_path: Path
) -> None:
    easy = {"link.easy_steps": 100, "link.easy_snr_db": 14, "optimiser.learning_rate": 3e-3}
    assert run(TINY / "stage3.yaml", codec(steps=50, **easy)) == "finished"
    losses = [line["weighted_latent"] for line in lines(tmp_path / "run")]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    before = load_file(parent / "model.safetensors")
    after = load_file(tmp_path / "run" / "final" / "model.safetensors")
    frozen = ("analysis", "hyperprior", "context", "unet")
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith(frozen))
    moved = [k for k in before if k.startswith("jscc") and not torch.equal(before[k], after[k])]
    assert "jscc_encoder.gains.log_gain" in moved
    assert "jscc_decoder.gains.log_gain" in moved
    record = load_checkpoint(tmp_path / "run" / "final").info["training"][-1]
    assert record["config"]["stored_latents"] is True
    assert "open_gates" in record["validation"]
    card = (tmp_path / "run" / "final" / "README.md").read_text()
    assert "on stored latents" in card


def test_stopped_and_resumed_equals_uninterrupted(codec: Overrides, tmp_path: Path) -> None:
    config = TINY / "stage3.yaml"
    run(config, codec(output=tmp_path / "whole", steps=6))
    run(config, codec(output=tmp_path / "cut", steps=6, max_minutes=1e-6, save_minutes=0))
    assert not (tmp_path / "cut" / "final").exists()
    assert run(config, codec(output=tmp_path / "cut", steps=6)) == "finished"
    whole, cut = (load_file(tmp_path / n / "state.safetensors") for n in ("whole", "cut"))
    for key, tensor in whole.items():
        assert torch.equal(tensor, cut[key]), key


def opened(settings: list[str]) -> tuple[CodecTask, LatentData]:
    config = read_schedule(TINY / "stage3.yaml", settings).stages[0]
    assert isinstance(config, LriscStage)
    task = CodecTask(config)
    return task, task.data


def test_what_is_stored_is_what_the_encoder_gives(codec: Overrides) -> None:
    task, data = opened(codec())
    raw = torch.from_numpy(data.squares[3].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        latent = task.model.analysis(raw / 127.5 - 1)
        bits = task.model.embedding_bits(latent)
    stored = torch.from_numpy(data.stored[3].copy()).float()
    torch.testing.assert_close(stored[:-1], latent[0], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(stored[-1], bits[0], rtol=2e-3, atol=2e-2)
    assert data.worth.shape == (task.model.config.latent_channels,)
    assert float(data.worth.min()) > 0
    assert float(data.worth.mean()) == pytest.approx(1, rel=1e-5)


def test_other_weights_get_other_latents_and_damaged_ones_are_made_again(
    codec: Overrides,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    train: Train,
) -> None:
    cache = tmp_path / "latents"
    settings = codec(**{"crops.cache": cache})
    _, data = opened(settings)
    (path,) = cache.glob("latents-*.npy")
    whole = np.array(data.stored)
    path.write_bytes(path.read_bytes()[:-7])
    with caplog.at_level(logging.INFO):
        _, again = opened(settings)
    assert "storing the latents" in caplog.text
    assert (again.stored == whole).all()
    train("stage3", output=tmp_path / "other", steps=1, seed=5)
    opened(codec(**{"crops.cache": cache, "parent": tmp_path / "other" / "final"}))
    assert len(list(cache.glob("latents-*.npy"))) == 2


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"train": "[unet]"}, "train"),
        ({"parent": ""}, "parent"),
        ({"link.enabled": "false"}, "link.enabled"),
        ({"crops.decode": "always"}, "crops.decode"),
        ({"roi.detector_fraction": 0.5}, "roi.detector_fraction"),
        ({"roi.steering": "latent"}, "roi.steering"),
    ],
)
def test_what_latents_cannot_give_is_refused(
    codec: Overrides, change: dict[str, object], key: str
) -> None:
    with pytest.raises(InputError, match=f"^{key}: must be .* with stored_latents$"):
        run(TINY / "stage3.yaml", codec(**change))
