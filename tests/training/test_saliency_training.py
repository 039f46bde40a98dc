"""The detector through the real loop: it learns, resumes to the bit, and leaves a detector."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.training import runs
from tests.training.runs import Overrides, Start

from lrisc.errors import InputError
from lrisc.metrics.lpips import Lpips
from lrisc.roi.saliency import load_detector
from lrisc.training.schedule import read_schedule, run
from lrisc.training.tasks import make_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CONFIG = Path(__file__).parents[2] / "configs" / "saliency.yaml"


@pytest.fixture
def few(tmp_path: Path) -> Overrides:
    """Overrides for short runs on photographs whose left half is bright and salient."""
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    for i in range(12):
        photo = np.full((48, 64, 3), 20 + i, np.uint8)
        photo[:, :32] = 240 - i
        Image.fromarray(photo).save(masks / f"{i}.jpg")
        Image.fromarray(mask).save(masks / f"{i}.png")

    def overrides(**changed: object) -> list[str]:
        values: dict[str, object] = {
            "masks": masks,
            "output": tmp_path / "run",
            "schedule": "steps",
            "steps": 3,
            "batch_size": 2,
            "log_every": 1,
            "loss.hints": 0,
            "validate.minutes": 0,
            "validate.pictures": 2,
        }
        return runs.overrides(values, changed)

    return overrides


def test_it_learns_and_leaves_a_detector_without_guesses(
    few: Overrides, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    trunk = Lpips("alex")  # random weights: that hints are learnt from, not what
    monkeypatch.setattr(Lpips, "from_weights", lambda backbone: trunk)
    options = few(steps=12, loss__hints=0.5, optimiser__warmup_steps=1, log_every=4)
    assert run(CONFIG, options) == "finished"
    loss = [line["loss"] for line in runs.lines(tmp_path / "run")]
    assert loss[-1] < 0.9 * loss[0]
    assert set(runs.lines(tmp_path / "run", "validation")[-1]) >= {"max_f", "mae"}
    for folder in ("final", "best"):
        network = load_detector(tmp_path / "run" / folder)
        stored = set(load_file(tmp_path / "run" / folder / "model.safetensors"))
        assert stored == {n for n, t in network.state_dict().items() if t.is_floating_point()}
    (record,) = json.loads((tmp_path / "run/final/config.json").read_text())["training"]["runs"]
    assert (record["teacher_maps"], record["exact_masks"], record["steps"]) == (0, 10, 12)
    assert str(tmp_path) not in json.dumps(record)

    # It may start from another detector.
    options = few(output=tmp_path / "next", parent=tmp_path / "run" / "final", steps=1)
    assert run(CONFIG, [*options, "optimiser.learning_rate=0"]) == "finished"
    mine, theirs = (load_detector(tmp_path / n / "final") for n in ("next", "run"))
    assert torch.equal(mine.stem.weight, theirs.stem.weight)


def test_killed_and_resumed_equals_uninterrupted(
    few: Overrides, start_training: Start, tmp_path: Path
) -> None:
    runs.check_that_a_killed_run_ends_as_a_whole_one(start_training, CONFIG, few, tmp_path, 8)


def test_crops_grow_at_the_same_step_after_a_stop(few: Overrides, tmp_path: Path) -> None:
    """Step 2 of 4 is the first of larger crops, whether or not the run was stopped before it."""
    run(CONFIG, few(output=tmp_path / "whole", steps=4))
    for _ in range(2):
        run(CONFIG, few(output=tmp_path / "cut", steps=4, max_minutes=1e-6))
    assert run(CONFIG, few(output=tmp_path / "cut", steps=4)) == "finished"
    whole, cut = (load_file(tmp_path / n / "state.safetensors") for n in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[key]) for key, tensor in whole.items())


def test_crops_grow_and_exact_masks_come_more_often(few: Overrides, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((6, 64, 64, 3), np.uint8))
    np.save(tmp_path / "m.npy", np.full((6, 32, 32), 100, np.uint8))
    (tmp_path / "m.done").write_text("6")
    teacher = [f"data={tmp_path / 's.npy'}", f"maps={tmp_path / 'm.npy'}", "shares.composite=0"]
    (stage,) = read_schedule(CONFIG, few() + teacher + ["shares.exact=0"]).stages
    data = make_task(stage).data
    assert len(data) == 16
    sides = [data.batch(0, range(1), at)[0].shape[-1] for at in (0, 0.4, 0.6, 0.9)]
    assert sides == [96, 128, 160, 192]
    early, late = (data.batch(1, range(200), at)[1] for at in (0.0, 0.86))
    assert bool((early == 100 / 255).all())
    exact = (late != 100 / 255).flatten(1).any(1).float().mean()
    assert 0.05 < float(exact) < 0.3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["masks="], "masks: name a folder"),
        (["maps=m.npy"], "go together"),
        (["validate.pictures=12"], "more than 12"),
        (["crops.crop=64"], "unknown key 'crops'"),
    ],
)
def test_what_it_cannot_use_is_one_line(few: Overrides, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run(CONFIG, few() + overrides)
    assert "\n" not in str(caught.value)
