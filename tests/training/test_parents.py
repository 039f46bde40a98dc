"""A stage goes on from the parent that it began with, wherever that is now."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.training.runs import TINY, Overrides, Train

from lrisc.checkpoint import load_checkpoint, save_checkpoint
from lrisc.errors import InputError
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import LriscStage
from lrisc.training.loop import Trainer, make_accelerator
from lrisc.training.schedule import read_schedule, run
from lrisc.training.tasks.codec import CodecTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def other_folder(tmp_path: Path) -> Path:
    """Another checkpoint of the tiny preset."""
    torch.manual_seed(1)
    save_checkpoint(tmp_path / "other", Lrisc(PRESETS["tiny"]))
    return tmp_path / "other"


@pytest.mark.parametrize("steps", [1, 2], ids=["finished", "longer"])
def test_another_parent_is_refused_in_one_line(
    train: Train, tiny_folder: Path, other_folder: Path, state: Path, steps: int
) -> None:
    train("stage2a", parent=tiny_folder, steps=1)
    before = state.read_bytes()
    with pytest.raises(
        InputError, match=r"parent: .*other has other weights than before"
    ) as caught:
        train("stage2a", parent=other_folder, steps=steps)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"parent: .* -> none"):
        train("stage2a", parent="", steps=steps)
    assert state.read_bytes() == before


def test_a_parent_may_move_and_may_go_once_the_stage_is_finished(
    train: Train, tiny_folder: Path, tmp_path: Path
) -> None:
    train("stage2a", parent=tiny_folder, steps=1)
    shutil.copytree(tiny_folder, tmp_path / "moved")
    assert train("stage2a", parent=tmp_path / "moved", steps=2) == "finished"
    shutil.rmtree(tmp_path / "moved")
    assert train("stage2a", parent=tmp_path / "moved", steps=2) == "finished"


def test_a_record_names_the_parent_that_was_trained_from(
    caplog: pytest.LogCaptureFixture,
    train: Train,
    tiny_folder: Path,
    other_folder: Path,
    tmp_path: Path,
) -> None:
    train("stage2a", parent=tiny_folder, steps=1)
    with caplog.at_level(logging.WARNING, "lrisc"):
        train("stage2a", parent=other_folder, steps=2, resume_anyway="true")
    assert "other has other weights than before" in caplog.text
    (record,) = load_checkpoint(tmp_path / "run" / "final").info["training"]
    assert record["parent"].endswith(tiny_folder.name)


def test_a_state_from_before_parents_were_noted_goes_on(
    train: Train, tiny_folder: Path, state: Path
) -> None:
    train("stage2a", parent=tiny_folder, steps=1)
    with safe_open(state, "pt") as file:
        meta = file.metadata()
    progress = json.loads(meta["progress"])
    del progress["parent"]
    save_file(load_file(state), state, {**meta, "progress": json.dumps(progress)})
    assert train("stage2a", parent=tiny_folder, steps=2) == "finished"


def test_latents_are_those_of_the_encoder_that_was_trained_with(
    short: Overrides, tiny_folder: Path, other_folder: Path
) -> None:
    """Even where the user wants to go on with another parent."""

    def config(parent: Path, steps: int) -> list[str]:
        return short(
            parent=parent,
            stored_latents="true",
            train="[jscc_encoder,jscc_decoder]",
            roi__fraction=0,
            steps=steps,
            resume_anyway="true",
        )

    run(TINY / "stage3.yaml", config(tiny_folder, 1))
    (stage,) = read_schedule(TINY / "stage3.yaml", config(tiny_folder, 2)).stages
    assert isinstance(stage, LriscStage)
    stored = CodecTask(stage).data.stored
    (stage,) = read_schedule(TINY / "stage3.yaml", config(other_folder, 2)).stages
    trainer = Trainer(stage, make_accelerator(stage))
    batch = trainer.data.batch(0, range(4), 0.0)[0].numpy()
    assert all((stored == latent).all((1, 2, 3)).any() for latent in batch)


@pytest.fixture
def plan(short: Overrides, tmp_path: Path) -> tuple[Path, list[str]]:
    """Two stages of two steps."""
    path = tmp_path / "two.yaml"
    path.write_text(f"stages: [{TINY / 'stage1.yaml'}, {TINY / 'stage2a.yaml'}]\noutput: runs\n")
    return path, [o for o in short(steps=2, loss__latent=0) if not o.startswith("parent")]


def test_a_stage_that_others_were_trained_from_is_not_trained_on(
    plan: tuple[Path, list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, settings = plan
    run(path, settings)
    root = tmp_path / "run"
    before = {p: p.read_bytes() for p in root.rglob("*.safetensors")}
    longer = [*settings, "stage1.steps=4"]
    with pytest.raises(InputError, match=r"remove .*stage2a to train it again") as caught:
        run(path, longer)
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in root.rglob("*.safetensors")} == before

    with caplog.at_level(logging.WARNING, "lrisc"):
        assert run(path, [*longer, "resume_anyway=true"]) == "finished"
    assert "stage2a is finished and stays as it was: parent: " in caplog.text
    second = root / "stage2a" / "state.safetensors"
    assert second.read_bytes() == before[second]

    with pytest.raises(InputError, match="other weights than before"):
        run(path, longer)
    shutil.rmtree(root / "stage2a")
    assert run(path, longer) == "finished"
    records = load_checkpoint(root / "final").info["training"]
    assert [(r["stage"], r["steps"]) for r in records] == [("stage1", 4), ("stage2a", 2)]
    assert run(path, longer) == "finished"
