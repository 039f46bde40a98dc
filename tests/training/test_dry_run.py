"""What a run would cost, before it is paid."""

import re
from pathlib import Path

import pytest
from tests.training.runs import TINY, Overrides

from lrisc.errors import InputError
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.dry_run import dry_run
from lrisc.training.schedule import read_schedule

CODEC = TINY.parent / "compact" / "codec.yaml"


@pytest.mark.slow
def test_it_tells_parameters_steps_memory_and_time(short: Overrides, tmp_path: Path) -> None:
    changed = [o for o in short(steps=3600) if not o.startswith("parent")]
    lines = dry_run(read_schedule(TINY / "all.yaml", changed))
    text = "\n".join(lines)
    assert [line[:-1] for line in lines if re.fullmatch(r"stage\w+:", line)] == [
        "stage1", "stage2a", "stage2b", "stage3",
    ]  # fmt: skip
    parameters = sum(p.numel() for p in Lrisc(PRESETS["tiny"]).parameters())
    assert f"{parameters / 1e6:.1f} M parameters, {parameters / 1e6:.1f} M trained" in text
    assert text.count("3,600 steps of 4 crops") == 4
    assert text.count("GiB a process") == 4
    seconds = [float(s) for s in re.findall(r"([\d.e-]+) s a step", text)]
    assert all(0 < s < 60 for s in seconds)
    assert lines[-1].startswith("the whole schedule: ")
    unit = {"minutes": 60, "hours": 3600}
    number, name = re.findall(r"schedule: ([\d.]+) (\w+)", text)[0]
    assert float(number) * unit[name] == pytest.approx(3600 * sum(seconds), rel=0.05)
    assert not (tmp_path / "run").exists()


def test_steps_follow_epochs_and_pictures(short: Overrides) -> None:
    config = TINY / "stage1.yaml"
    # 24 pictures, 6 of them held out: 18 crops an epoch.
    text = "\n".join(dry_run(read_schedule(config, short(epochs=10))))
    assert "45 steps of 4 crops" in text
    text = "\n".join(dry_run(read_schedule(config, short(epochs=10, data="[]"))))
    assert "unknown steps (name data=...)" in text
    with pytest.raises(InputError, match="does not exist"):
        dry_run(read_schedule(config, short(epochs=10, data="/nowhere")))


def test_a_stage_on_stored_latents_needs_no_parent_yet(short: Overrides) -> None:
    latents = ["stored_latents=true", "train=[jscc_encoder,jscc_decoder]", "parent=later/final"]
    settings = [*short(roi__detector_fraction=0, roi__steering="rate"), *latents]
    text = "\n".join(dry_run(read_schedule(TINY / "stage3.yaml", settings)))
    model = Lrisc(PRESETS["tiny"])
    codec = sum(p.numel() for m in (model.jscc_encoder, model.jscc_decoder) for p in m.parameters())
    assert f"{codec / 1e6:.1f} M trained" in text
    assert "4 steps of 4 crops" in text
    lines = dry_run(read_schedule(CODEC, ["loss.lpips=0"]))
    assert lines[-1] == "the whole schedule: 35.0 minutes"
