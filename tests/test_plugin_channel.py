"""The channel of docs/extending.md, in one file of ten lines, works wherever a channel does."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tests.helpers import picture

from lrisc import cli
from lrisc.evaluation.results import ResultsFolder
from lrisc.images import to_pil
from lrisc.link.batched import draw_gains
from lrisc.link.channels import CHANNELS
from lrisc.link.draws import Draws
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.registry import import_plugins
from lrisc.training.conditions import draw_link
from lrisc.training.config.schema import LinkConfig, LossConfig
from lrisc.training.objective import training_loss

PLUGIN = "tests.link.rician"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHANNELS, "_things", dict(CHANNELS))
    monkeypatch.delitem(sys.modules, PLUGIN, raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["lrisc", *map(str, arguments)])
    cli.main()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        to_pil(picture(64, 96, seed)).save(folder / f"{seed}.png")
    return folder


def test_transmit(
    photos: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixed = ("--snr", 25, "--cbr", "1/6", "--model", tiny_folder, "--json")
    run(
        monkeypatch, "transmit", photos / "0.png", *fixed, "--plugin", PLUGIN, "--channel", "rician"
    )
    report = json.loads(capsys.readouterr().out)
    assert report["channel"] == "rician"
    assert report["psnr_db"] > 0


def test_help_lists_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    run(monkeypatch, "transmit", "--plugin", PLUGIN, "--help")
    told = capsys.readouterr().out
    for name in ("awgn: white", "rayleigh: Rayleigh", "rician: Rician block fading"):
        assert name in told


def test_training_step() -> None:
    import_plugins([PLUGIN])
    config = LinkConfig(channels={"awgn": 0.5, "rician": 0.5}, snr_db=(20, 20))
    draws = Draws(0, step=0, samples=range(16))
    conditions = draw_link(draws, config, step=0)
    assert conditions.which is not None
    model = Lrisc(PRESETS["tiny"])
    images = torch.stack([picture(64, 64, seed) for seed in range(16)]) * 2 - 1
    loss, _ = training_loss(
        model, None, images, draws, LossConfig(lpips=0), rate=0.01, conditions=conditions
    )
    loss.backward()
    assert any(bool(p.grad.any()) for p in model.jscc_encoder.parameters() if p.grad is not None)
    sent = torch.ones(16, 4, 512, dtype=torch.bool)
    power = draw_gains(sent, conditions, draws).abs().square().flatten(1)
    rician = conditions.which == 1
    assert 4 < int(rician.sum()) < 12
    assert bool((power[~rician] == 1).all())
    assert float(power[rician].var(1).min()) > 0.05
    assert float(power[rician].mean()) == pytest.approx(1, abs=0.2)


def test_evaluate_in_processes(
    photos: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ("--schemes", f"lrisc:{tiny_folder}", "--snr", 25, "--cbr", "1/6", "--jobs", 2)
    where = ("--channel", "rician", "--plugin", PLUGIN, "-o", tmp_path / "results")
    run(monkeypatch, "evaluate", photos, *sweep, *where)
    rows = ResultsFolder(tmp_path / "results").rows()
    assert [(row.channel, row.status) for row in rows] == [("rician", "sent")] * 2
