"""Whole runs: every stage, interruptions, failures, several processes."""

import errno
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tests.training.runs import (
    TINY,
    Overrides,
    Start,
    Train,
    check_that_a_killed_run_ends_as_a_whole_one,
    lines,
    save_pictures,
)

from lrisc.checkpoint import load_checkpoint
from lrisc.errors import InputError
from lrisc.files import UnwritableError
from lrisc.link.draws import Draws
from lrisc.metrics.lpips import Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError
from lrisc.models.config import PRESETS
from lrisc.training import conditions
from lrisc.training import step as step_module
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.crops import crop_batch
from lrisc.training.loop import DivergedError, Trainer, deterministic
from lrisc.training.reporting import Reporter
from lrisc.training.schedule import read_schedule, run
from lrisc.training.state import read_progress

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@contextmanager
def loss_at(monkeypatch: pytest.MonkeyPatch, call: int, change: Callable[..., Any]) -> Any:
    """Change what the n-th call of the loss (from 0) returns."""
    original, calls = step_module.training_loss, iter(range(10**9))

    def changed(*arguments: Any, **options: Any) -> Any:
        loss, terms = original(*arguments, **options)
        return (change(loss), terms) if next(calls) == call else (loss, terms)

    with monkeypatch.context() as patch:
        patch.setattr(step_module, "training_loss", changed)
        yield


def test_all_stages_then_transmit(short: Overrides, pictures: Path, tmp_path: Path) -> None:
    import lrisc

    try:
        Lpips.from_weights("alex")
        lpips = 0.6
    except LpipsUnavailableError:
        lpips = 0.0
    changed = short(loss__lpips=lpips, steps=30, batch_size=8, log_every=10, validate__minutes=0)
    changed = [o for o in changed if not o.startswith(("parent", "optimiser"))]
    assert run(TINY / "all.yaml", changed) == "finished"

    root = tmp_path / "run"
    for name in ("stage1", "stage2a", "stage3"):
        loss = [line["loss"] for line in lines(root / name)]
        assert len(loss) == 3
        assert loss[-1] < 0.97 * loss[0], name
    latent = [line["latent"] for line in lines(root / "stage2a")]
    assert latent[-1] < 0.85 * latent[0]  # the linear channels' way is there from the start
    for name in ("stage1", "stage2a", "stage2b", "stage3"):
        assert (root / name / "best" / "config.json").is_file()
        with Image.open(next((root / name / "samples").glob("*.png"))) as sheet:
            assert sheet.height == 2 * 64
        assert "psnr" in lines(root / name, "validation")[-1]

    # What a stage does not train stays as its parent left it.
    first, last = (load_file(root / f"{n}/final/model.safetensors") for n in ("stage1", "stage2b"))
    frozen = ("analysis", "hyperprior", "context", "unet")
    assert all(torch.equal(first[k], last[k]) for k in first if k.startswith(frozen))
    assert not all(torch.equal(first[k], last[k]) for k in first if k.startswith("jscc"))

    folder = root / "final"
    loaded = lrisc.load_checkpoint(folder)
    assert [stage["stage"] for stage in loaded.info["training"]] == [
        "stage1",
        "stage2a",
        "stage2b",
        "stage3",
    ]
    default = type(loaded.prior).default(loaded.prior.levels)
    assert (loaded.prior.table != default.table).any()
    card = (folder / "README.md").read_text()
    for fact in (pictures.name, "18 (0 skipped)", "240", "stage2b", "psnr@10dB", "LPIPS"):
        assert fact in card
    image = Image.open(next(pictures.iterdir()))
    result = lrisc.transmit(image, snr_db=10, cbr=1 / 8, model=folder)
    assert result.reconstruction is not None
    assert result.reconstruction.size == image.size

    # Running it again finds everything done and writes nothing.
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()}
    assert run(TINY / "all.yaml", changed) == "finished"
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_killed_and_resumed_equals_uninterrupted(
    short: Overrides, start_training: Start, tmp_path: Path, compiled: str
) -> None:
    """SIGKILL at random moments; losses, weights, averages and moments agree to the bit."""
    settings = {"compile": compiled, "log_every": 2, "optimiser.warmup_steps": 4}
    settings["optimiser.name"] = "muon"  # and so AdamW, for what is no matrix
    kills = (2,) if compiled == "true" else (1, 3)  # each start compiles
    state = check_that_a_killed_run_ends_as_a_whole_one(
        start_training, TINY / "stage3.yaml", short, tmp_path, 10, kills, **settings
    )
    assert any(key.startswith("optimiser.") for key in state)
    names = ("step", "loss", "mse", "bpp", "latent", "gradient_norm", "learning_rate")
    expected = [[line[name] for name in names] for line in lines(tmp_path / "whole")]
    assert [[line[name] for name in names] for line in lines(tmp_path / "cut")] == expected
    assert len(expected) == 5


def test_two_processes_give_the_joint_gradient(
    short: Overrides, start_training: Start, tmp_path: Path
) -> None:
    """After one step Adam's first moment is a tenth of the clipped gradient."""
    settings = {"steps": 1, "optimiser.clip": 0.5, "loss.source_fraction": 0.5, "seed": 3}
    settings |= {"loss.one_step_fraction": 0.5, "roi.fraction": 0.5, "validation": ""}
    config = TINY / "stage3.yaml"
    process = start_training(config, short(output=tmp_path / "2", **settings), 2)
    assert run(config, short(output=tmp_path / "1", **settings)) == "finished"
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    one, two = (load_file(tmp_path / str(count) / "state.safetensors") for count in (1, 2))
    keys = [key for key in one if key.endswith(".exp_avg")]
    assert len(keys) > 100
    joint = torch.cat([one[key].flatten() for key in keys])
    mean = torch.cat([two[key].flatten() for key in keys])
    assert float(joint.norm()) > 0.01
    assert float((joint - mean).norm() / joint.norm()) < 1e-4
    loss = [lines(tmp_path / str(count))[0]["loss"] for count in (1, 2)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-5)
    with safe_open(tmp_path / "2" / "state.safetensors", "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    assert progress["samples"] == 4
    assert "2 processes" in progress["hardware"][0]


def test_changed_config_says_what_changed(
    caplog: pytest.LogCaptureFixture, train: Train, state: Path
) -> None:
    train(steps=1)
    with pytest.raises(InputError) as caught:
        train(steps=2, loss__eta=0.25, optimiser__clip=2)
    message = str(caught.value)
    assert "loss.eta: 0.5 -> 0.25; optimiser.clip: 1.0 -> 2.0" in message
    assert "steps" not in message
    assert "\n" not in message
    assert read_progress(state).step == 1
    with caplog.at_level(logging.WARNING, "lrisc"):
        train(steps=2, loss__eta=0.25, resume_anyway="true")
    assert "resuming with a changed config: loss.eta: 0.5 -> 0.25" in caplog.text
    assert read_progress(state).step == 2


def test_finished_run_notices_other_settings_and_pictures(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, train: Train, state: Path
) -> None:
    train(steps=1)
    before = state.read_bytes()
    with pytest.raises(InputError, match=r"loss.eta: 0.5 -> 0.25\. Change it back") as caught:
        train(steps=1, loss__eta=0.25)
    assert "\n" not in str(caught.value)
    save_pictures(tmp_path / "other", 20)
    for steps in (1, 2):
        with pytest.raises(InputError, match="other pictures than before"):
            train(steps=steps, data=tmp_path / "other")
    with caplog.at_level(logging.WARNING, "lrisc"):
        train(steps=1, loss__eta=0.25, resume_anyway="true")
    assert "stage1 is finished and stays as it was: loss.eta: 0.5 -> 0.25" in caplog.text
    assert train(steps=1, log_every=7, validate__side=128) == "finished"
    assert state.read_bytes() == before


@pytest.mark.parametrize(
    ("less", "more", "first", "last"),
    [
        ({"steps": 1}, {"steps": 9}, 1, 9),
        # 18 squares in batches of 4, and 6 for validation
        ({"epochs": 0.2}, {"epochs": 2}, 1, 9),
    ],
    ids=["steps", "epochs"],
)
def test_longer_run_that_was_stopped_is_not_finished(
    less: dict[str, Any],
    more: dict[str, Any],
    first: int,
    last: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    train: Train,
    state: Path,
) -> None:
    train(**less)
    assert read_progress(state).step == first
    final = tmp_path / "run" / "final" / "model.safetensors"
    before = final.read_bytes()

    def stop(loss: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with loss_at(monkeypatch, 0, stop):
        assert train(**more) == "interrupted"
    assert first < read_progress(state).step < last
    assert final.read_bytes() == before
    assert train(**more) == "finished"
    assert read_progress(state).step == last
    assert final.read_bytes() != before


def test_run_that_was_stopped_in_its_export_is_not_finished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, train: Train
) -> None:
    final = tmp_path / "run" / "final" / "model.safetensors"
    train(steps=1)
    before = final.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("lrisc.training.tasks.lrisc.export", lambda *_: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception, match="stopped"):
            train(steps=2)
    assert final.read_bytes() == before
    assert train(steps=2) == "finished"
    assert final.read_bytes() != before


def test_two_trainings_do_not_share_a_folder(
    short: Overrides, start_training: Start, train: Train, state: Path
) -> None:
    first = start_training(TINY / "stage1.yaml", short(steps=100_000, save_minutes=0))
    while not state.is_file() and first.poll() is None:
        time.sleep(0.02)
    with pytest.raises(InputError, match=r"run is in use by another training") as caught:
        train(steps=1)
    assert "\n" not in str(caught.value)
    first.kill()
    first.communicate()
    assert train(steps=read_progress(state).step) == "finished"


@pytest.mark.parametrize("strict", [True, False])
def test_deterministic_kernels_are_as_strict_as_before(strict: bool) -> None:
    accelerator = Accelerator(cpu=True)
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    try:
        with deterministic(accelerator):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (not strict)
    finally:
        torch.use_deterministic_algorithms(False)


def test_detector_finds_regions_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    original, sizes = conditions.saliency, list[int]()

    def counted(pictures: torch.Tensor, network: Any) -> torch.Tensor:
        sizes.append(len(pictures))
        return original(pictures, network)

    monkeypatch.setattr(conditions, "saliency", counted)
    detected = {"roi.fraction": 1, "roi.detector_fraction": 1, "precision": "bf16"}
    assert train("stage3", steps=2, **detected) == "finished"
    assert sizes == [4, 4]


def test_stages_hand_over_full_precision(short: Overrides, tmp_path: Path) -> None:
    """To the bit; the schedule's own checkpoint, which is shipped, is half of it."""
    (tmp_path / "two.yaml").write_text(
        f"stages: [{TINY / 'stage1.yaml'}, {TINY / 'stage3.yaml'}]\noutput: runs\n"
    )
    changed = [o for o in short(steps=1, roi__fraction=0) if not o.startswith("parent")]
    steering = ["stage3.roi.fraction=0.5", "stage3.roi.steering=power"]
    assert run(tmp_path / "two.yaml", [*changed, *steering]) == "finished"
    root = tmp_path / "run"
    state = load_file(root / "stage1" / "state.safetensors")
    handed = load_file(root / "stage1" / "final" / "model.safetensors")
    kept = [name for name in handed if f"ema.{name}" in state]
    assert len(kept) > 100
    assert all(torch.equal(handed[name], state[f"ema.{name}"]) for name in kept)
    whole = load_file(root / "stage3" / "final" / "model.safetensors")
    shipped = load_file(root / "final" / "model.safetensors")
    assert shipped["unet.out.weight"].dtype == torch.float16
    assert all(torch.equal(shipped[n], whole[n].to(shipped[n].dtype)) for n in whole)
    assert "float16" in (root / "final" / "README.md").read_text()
    assert "float32" in (root / "stage3" / "final" / "README.md").read_text()
    steerings = [load_checkpoint(root / n / "final").model.config.roi_steering
                 for n in ("stage1", "stage3")]  # fmt: skip
    assert steerings == ["", "power"]


def test_weights_beyond_half_precision_stop_the_run_at_once(
    monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    original = Trainer.apply_gradient

    def grow(trainer: Trainer) -> None:
        original(trainer)
        if trainer.progress.step == 1:
            with torch.no_grad():
                trainer.model.get_parameter("unet.out.bias")[0] = 7e4

    monkeypatch.setattr(Trainer, "apply_gradient", grow)
    complaint = r"at step 2 a weight of unet.out.bias is 7e\+04, beyond the 65504 of float16"
    with pytest.raises(DivergedError, match=complaint):
        train(steps=9)


def test_unwritable_folder(tmp_path: Path, train: Train) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=r"cannot write into .*run: Not a directory") as e:
        train(output=tmp_path / "file" / "run")
    assert "\n" not in str(e.value)


def test_full_disk_leaves_the_last_state_intact(train: Train, state: Path) -> None:
    train(steps=2)
    before = state.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses the rest of a file beyond the limit, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UnwritableError, match="the previous one is intact") as caught:
            train(steps=3, save_minutes=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(state) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state.read_bytes() == before
    assert not list(state.parent.glob("*.tmp")) + list(state.parent.glob(".*.tmp"))
    assert train(steps=3) == "finished"


def test_full_disk_under_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrisc.training.reporting._summary_writer", lambda *_: None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with Reporter(tmp_path, "stage", 0) as reporter:
            reporter.log(0, {"loss": 0.5})
            reporter.log(1, {"loss": 0.5})
            with pytest.raises(UnwritableError, match=r"write .*metrics.jsonl: File too large"):
                reporter.log(2, {"loss": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    Reporter(tmp_path, "stage", 9)  # the line that was cut short is dropped
    assert [line["step"] for line in lines(tmp_path)] == [0, 1]


def test_full_disk_under_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def add_scalar(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        close = add_scalar

    monkeypatch.setattr("lrisc.training.reporting._summary_writer", lambda *_: Full())
    full = "cannot write .*tensorboard: No space left"
    with pytest.raises(UnwritableError, match=full), Reporter(tmp_path, "a", 0) as reporter:
        reporter.log(1, {"loss": 0.5})
    with pytest.raises(UnwritableError, match=full), Reporter(tmp_path, "a", 0):
        pass
    with pytest.raises(DivergedError), Reporter(tmp_path, "a", 0):
        raise DivergedError


def test_nan_loss_stops_and_saves_the_batch(
    short: Overrides,
    monkeypatch: pytest.MonkeyPatch,
    squares: Any,
    tmp_path: Path,
    train: Train,
    state: Path,
) -> None:
    with (
        loss_at(monkeypatch, 2, lambda loss: loss * torch.nan),
        pytest.raises(DivergedError, match="at step 2 the loss is nan") as caught,
    ):
        train(save_minutes=0)
    assert "\n" not in str(caught.value)
    path = tmp_path / "run" / "diverged-step-2-process-0.safetensors"
    assert str(path) in str(caught.value)
    stage = read_schedule(TINY / "stage1.yaml", short()).stages[0]
    data = DataConfig(crop=64, square=64)
    expected = crop_batch(squares[: len(squares) - 6], Draws(stage.draw_seed, 2, range(4)), data)
    assert torch.equal(load_file(path)["pictures"], expected)
    assert read_progress(state).step == 2
    assert all(bool(torch.isfinite(t).all()) for t in load_file(state).values())
    assert train() == "finished"  # the cause is gone, and it goes on


def test_infinite_gradients_are_skipped_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, train: Train, state: Path
) -> None:
    def explode(loss: torch.Tensor) -> torch.Tensor:
        return loss + (loss - loss.detach()) * 1e38 * 1e38

    with loss_at(monkeypatch, 1, explode):
        train(steps=3)
    progress = read_progress(state)
    assert (progress.step, progress.skipped) == (3, 1)
    assert all(bool(torch.isfinite(t).all()) for t in load_file(state).values())
    monkeypatch.setattr("lrisc.training.loop._MAX_SKIPPED", 1)
    with (
        loss_at(monkeypatch, 0, explode),
        pytest.raises(DivergedError, match="gradients in a row are not finite"),
    ):
        train(steps=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_stop(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, train: Train, state: Path
) -> None:
    handlers = signal.getsignal(number)

    def send(loss: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), number)
        return loss

    with loss_at(monkeypatch, 1, send):
        assert train(steps=50) == "interrupted"
    assert read_progress(state).step in (2, 3)
    assert signal.getsignal(number) == handlers


def test_slot_and_time_schedule(tmp_path: Path, train: Train, state: Path) -> None:
    """The learning rate follows the total time over several slots, and ends at zero."""
    timed = {"schedule": "time", "total_minutes": 0.15, "steps": 1}
    assert train(max_minutes=0.04, **timed) == "out of time"
    first = read_progress(state)
    assert 0 < first.seconds < 9
    assert train(**timed) == "finished"
    last = read_progress(state)
    assert last.step > first.step
    assert last.seconds >= 9
    rates = [line["learning_rate"] for line in lines(tmp_path / "run")]
    assert rates[-1] == 0
    assert all(a >= b for a, b in pairwise(rates))


def test_missing_or_wrong_parent(tiny_folder: Path, tmp_path: Path, train: Train) -> None:
    with pytest.raises(InputError, match="is no checkpoint folder"):
        train("stage2a", parent=tmp_path / "none")
    with pytest.raises(InputError, match="not of preset compact"):
        train("stage2a", parent=tiny_folder, preset="compact")


def test_a_parent_with_gains_that_the_preset_lacks_is_refused(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    tiny = PRESETS["tiny"]
    assert tiny.snr_gains
    without = {"tiny": replace(tiny, snr_gains=False)}
    monkeypatch.setattr("lrisc.training.step.PRESETS", without)
    with pytest.raises(InputError, match="has snr_gains, preset tiny has none"):
        train("stage2a", parent=tiny_folder)


def test_batch_that_does_not_divide(monkeypatch: pytest.MonkeyPatch, train: Train) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(InputError, match="batch_size: 3 is not a multiple of 2 processes"):
        train(batch_size=3)
