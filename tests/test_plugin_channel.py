"""The ten-line channel of docs/manual/extending.md works wherever a channel does."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers import Run, picture

from lrisc.evaluation.results import ResultsFolder
from lrisc.images import to_pil
from lrisc.link.batched import draw_gains
from lrisc.link.channels import CHANNELS
from lrisc.link.draws import Draws
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.registry import import_plugins
from lrisc.training import __main__ as training
from lrisc.training import bench
from lrisc.training.conditions import draw_link
from lrisc.training.config.schema import LinkConfig, LossConfig
from lrisc.training.objective import training_loss
from lrisc.training.saliency import measure

ROOT = Path(__file__).parents[1]
PLUGIN = "tests.link.nakagami"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHANNELS, "_things", dict(CHANNELS))
    monkeypatch.delitem(sys.modules, PLUGIN, raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        to_pil(picture(64, 96, seed)).save(folder / f"{seed}.png")
    return folder


def test_transmit(photos: Path, run_tiny: Run) -> None:
    named = ("--plugin", PLUGIN, "--channel", "nakagami")
    told = run_tiny("transmit", photos / "0.png", "--snr", 25, "--cbr", "1/6", "--json", *named)
    assert told.code == 0
    report = json.loads(told.out)
    assert report["channel"] == "nakagami"
    assert report["psnr_db"] > 0


def test_help_lists_it(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    code, told, _ = run("transmit", "--plugin", PLUGIN, "--help")
    assert code == 0
    for name in ("awgn: white", "rayleigh: Rayleigh", "nakagami: Nakagami block fading"):
        assert name in told


def test_training_step() -> None:
    import_plugins([PLUGIN])
    config = LinkConfig(channels={"awgn": 0.5, "nakagami": 0.5}, snr_db=(20, 20))
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
    nakagami = conditions.which == 1
    assert 4 < int(nakagami.sum()) < 12
    assert bool((power[~nakagami] == 1).all())
    assert float(power[nakagami].var(1).min()) > 0.05
    assert float(power[nakagami].mean()) == pytest.approx(1, abs=0.2)


@pytest.mark.slow
def test_decode_takes_plugins(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, run_tiny: Run
) -> None:
    sent, received = tmp_path / "sent.sigmf-meta", tmp_path / "received.sigmf-meta"
    named = ("--plugin", PLUGIN, "--channel", "nakagami", "--snr", 25)
    assert run_tiny("encode", photos / "0.png", "-o", sent, "--cbr", "1/6").code == 0
    assert run("channel", sent, "-o", received, *named).code == 0
    monkeypatch.delitem(sys.modules, PLUGIN)
    painted = tmp_path / "painted.png"
    assert run_tiny("decode", received, "-o", painted, "--plugin", PLUGIN).code == 0
    assert PLUGIN in sys.modules
    assert painted.is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "arguments"),
    [(training.main, ("--dry-run",)), (bench.main, ("--steps", 1, "--warmup", 1))],
)
def test_training_programs_take_plugins(
    main: Callable[[], int],
    arguments: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = ROOT / "configs" / "tiny" / "stage2b.yaml"
    link = "link.channels={awgn: 0.5, nakagami: 0.5}"
    small = ("loss.lpips=0", "parent=", "batch_size=2", "crops.crop=64")
    words = ("program", config, link, *small, *arguments)
    monkeypatch.setattr("sys.argv", [*map(str, words)])
    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith("error: link.channels")
    assert told.count("\n") == 1
    monkeypatch.setattr("sys.argv", [*map(str, words), "--plugin", PLUGIN])
    assert main() == 0
    monkeypatch.setattr("sys.argv", [*map(str, words), "--plugin", "no_such_module"])
    assert main() == 2
    assert "cannot import the plugin no_such_module" in capsys.readouterr().err


def test_the_detectors_measure_takes_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = ["measure", str(tmp_path), "--plugin", "no_such_module"]
    monkeypatch.setattr("sys.argv", program)
    assert measure.main() == 2
    assert "cannot import the plugin no_such_module" in capsys.readouterr().err


@pytest.mark.process
def test_evaluate_in_processes(photos: Path, tiny_folder: Path, tmp_path: Path, run: Run) -> None:
    sweep = ("--schemes", f"lrisc:{tiny_folder}", "--snr", 25, "--cbr", "1/6", "--jobs", 2)
    where = ("--channel", "nakagami", "--plugin", PLUGIN, "-o", tmp_path / "results")
    assert run("evaluate", photos, *sweep, *where).code == 0
    rows = ResultsFolder(tmp_path / "results").rows()
    assert [(row.channel, row.status) for row in rows] == [("nakagami", "sent")] * 2
