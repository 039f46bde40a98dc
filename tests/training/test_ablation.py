"""The ablation's runs: what differs from the reference, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from tests.helpers import load_script

from lrisc.training.config.schema import LriscStage, flatten
from lrisc.training.schedule import read_schedule


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return load_script("scripts/ablation.py")


def test_variants_differ_in_what_they_are_about_alone(ablation: ModuleType, tmp_path: Path) -> None:
    runs: dict[str, dict[str, dict[str, object]]] = {}
    for name in ablation.VARIANTS:
        config, overrides = ablation.command(name, tmp_path, ["stage1.log_every=3"])
        stages = read_schedule(config, overrides).stages
        assert all(isinstance(stage, LriscStage) for stage in stages)
        runs[name] = {stage.name: flatten(stage) for stage in stages}
    reference = runs["reference"]
    places = {"output", "parent", "log_every"}
    for name, stages in runs.items():
        changed = {
            key.rpartition(".")[2] if key.startswith("loss") else key
            for stage, values in stages.items()
            for key, value in values.items()
            if key not in places and reference[stage][key] != value
        }
        expected = {
            "reference": set(),
            "no-snr-model": {"link.adapt"},
            "one-rate": {"preset"},
            "rate-layers": {"preset"},
            "only-2a": {"link.adapt", "link.snr_db"},
            "only-2b": {"link.adapt", "link.snr_db"},
            "eta-0": {"eta"},
            "eta-1": {"eta"},
            "lambda-4": {"rate"},
            "reference-seed-1": {"seed"},
        }[name]
        assert changed == expected, name
        assert sum(int(str(v["steps"])) for v in stages.values()) == sum(
            int(str(reference[stage]["steps"])) for stage in stages
        )
        if "stage1" not in stages:
            assert stages["stage2a"]["parent"] == str(tmp_path / "reference" / "stage1" / "final")


def test_the_table_shows_what_is_finished(ablation: ModuleType, tmp_path: Path) -> None:
    for name, lpips in (("reference", 0.3), ("eta-0", 0.4)):
        folder = tmp_path / name / "final"
        folder.mkdir(parents=True)
        found = {
            "psnr": 20.5, "lpips": lpips, "bpp": 1.5,
            "psnr@10dB,cbr=0.0208": 21.0, "lpips@10dB,cbr=0.0208": lpips,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps({"training": [{}, {"validation": found}]}))
    lines = ablation.table(tmp_path)
    assert lines[0] == "| variant | 10dB, 0.0208 | mean | bpp of z |"
    assert [line.split(" | ")[2] for line in lines[2:]] == ["20.50 / 0.3000", "20.50 / 0.4000"]
    assert "squared error only" in lines[3]
