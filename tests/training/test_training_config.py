"""YAML, overrides and their complaints."""

from itertools import pairwise
from pathlib import Path

import pytest

from lrisc.errors import InputError
from lrisc.training.config.read import config_changes
from lrisc.training.config.schema import LriscStage, flatten
from lrisc.training.schedule import read_schedule

CONFIGS = Path(__file__).parents[2] / "configs"


def lrisc_stages(path: Path, overrides: list[str]) -> list[LriscStage]:
    stages = read_schedule(path, overrides).stages
    return [stage for stage in stages if isinstance(stage, LriscStage)]


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: str(p)[-24:])
def test_shipped_configs_are_valid(path: Path) -> None:
    stages = read_schedule(path, []).stages
    if path.name == "all.yaml":
        assert [s.name for s in stages] == ["stage1", "stage2a", "stage2b", "stage3"]
        for before, after in pairwise(stages):
            assert after.parent == f"{before.output}/final"


def test_stages_follow_algorithm_1() -> None:
    for preset in ("tiny", "compact", "paper"):
        one, two_a, two_b, three = lrisc_stages(CONFIGS / preset / "all.yaml", [])
        assert set(one.train) == {"analysis", "hyperprior", "context", "unet"}
        assert not one.link.enabled
        assert set(two_a.train) == set(two_b.train) == {"jscc_encoder", "jscc_decoder"}
        assert two_a.link.snr_db == (10, 10)
        assert not two_a.link.adapt
        assert two_b.link.adapt
        assert two_b.link.snr_db == three.link.snr_db == (-2, 20)
        assert three.link.cbr == (pytest.approx(1 / 96), pytest.approx(1 / 12))
        assert len(three.train) == 6
        assert three.optimiser.decay == "cosine"


def test_published_settings() -> None:
    one, two_a, _, three = lrisc_stages(CONFIGS / "paper" / "all.yaml", [])
    assert (one.steps, one.batch_size, one.crops.crop, one.crops.pictures) == (
        10**6,
        16,
        256,
        50000,
    )
    assert (one.optimiser.name, one.optimiser.learning_rate) == ("adam", 1e-4)
    assert (two_a.link.beta, two_a.link.beta_fraction) == (0.2, 1)
    assert (three.epochs, three.loss.eta, three.loss.source) == (20, 0.5, "both")


def test_detector_finds_half_of_the_regions() -> None:
    for name in ("compact/stage2b", "compact/stage3", "compact/end_to_end", "paper/stage3"):
        roi = lrisc_stages(CONFIGS / f"{name}.yaml", [])[0].roi
        assert (roi.fraction, roi.detector_fraction) == (0.3, 0.5)


def test_overrides() -> None:
    one, *_, three = lrisc_stages(
        CONFIGS / "tiny" / "all.yaml",
        ["steps=7", "stage3.steps=9", "data=/a b", "output=/out", "loss.eta=1/4", "max_minutes=2"],
    )
    assert (one.steps, three.steps) == (7, 9)
    assert (one.data, one.output) == (("/a b",), "/out/stage1")
    assert one.loss.eta == three.loss.eta == 0.25
    assert one.max_minutes == 0  # a plan's slot is one for all stages


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("stage2a.max_minutes=5", "stage2a.max_minutes"),
        ("stage2a.output=/elsewhere", "stage2a.output"),
        ("stage2a.name=other", "stage2a.name"),
        ("name=other", "stage1.name"),
    ],
)
def test_what_a_schedule_says_for_all_is_not_said_for_one_stage(override: str, key: str) -> None:
    with pytest.raises(InputError, match=f"^{key}: cannot be set for one stage") as caught:
        read_schedule(CONFIGS / "tiny" / "all.yaml", [override])
    assert "\n" not in str(caught.value)


def test_a_slot_of_a_stage_does_not_vanish_in_a_schedule(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("{name: one, output: x, preset: tiny, max_minutes: 5}")
    (tmp_path / "plan.yaml").write_text("{stages: [one.yaml], output: runs}")
    with pytest.raises(InputError, match=r"^one\.max_minutes: "):
        read_schedule(tmp_path / "plan.yaml", ["max_minutes=7"])
    assert read_schedule(tmp_path / "one.yaml", []).max_minutes == 5


def test_all_stages_or_none_train_on_the_cpu() -> None:
    stages = read_schedule(CONFIGS / "tiny" / "all.yaml", ["device=cpu"]).stages
    assert {stage.device for stage in stages} == {"cpu"}
    for name in ("stage1", "stage3"):
        with pytest.raises(InputError, match=r"^device: must be the same for all stages"):
            read_schedule(CONFIGS / "tiny" / "all.yaml", [f"{name}.device=cpu"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "unknown key 'stepz'"),
        ("loss.mze=3", "unknown key 'loss.mze'"),
        ("steps.more=3", "unknown key"),
        ("steps=many", "steps"),
        ("link.snr_db=[20,-2]", "low to high"),
        ("train=[unit]", "unit"),
        ("precision=fp8", "fp8"),
        ("crops.crop=100", "multiple of 16"),
        ("steps", "key=value"),
        ("schedule=time", "total_minutes"),
    ],
)
def test_bad_keys_are_named_in_one_line(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_schedule(CONFIGS / "tiny" / "stage1.yaml", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=0", "at least 1, not 0"),
        ("epochs=-1", "0 or more, not -1.0"),
        ("save_minutes=-1", "0 or more"),
        ("save_minutes=.nan", "0 or more, not nan"),
        ("max_minutes=-1", "0 or more"),
        ("loss.eta=1.5", "in [0, 1]"),
        ("loss.source_fraction=2", "in [0, 1]"),
        ("loss.one_step_fraction=-0.1", "in [0, 1]"),
        ("loss.mse=.inf", "0 or more, not inf"),
        ("link.cbr=[0,1/12]", "in [1/768, 1/2]"),
        ("link.cbr=[1/12,0.7]", "in [1/768, 1/2]"),
        ("link.cbr=[1/12,1/24]", "from low to high"),
        ("link.snr_db=[20,-2]", "from low to high"),
        ("link.snr_db=[0,1000]", "in [-50, 100]"),
        ("link.favourite_cbr=2", "in [1/768, 1/2]"),
        ("link.favourite_fraction=2", "in [0, 1]"),
        ("link.channels={awgn: 0.5}", "add up to 1"),
        ("link.channels={water: 1}", "registered channels"),
        ("link.channels=awgn", "needs keys of its own"),
        ("link.beta_fraction=2", "in [0, 1]"),
        ("link.beta=0", "positive"),
        ("link.block_length=[0,8]", "at least 1"),
        ("roi.fraction=2", "in [0, 1]"),
        ("roi.detector_fraction=-1", "in [0, 1]"),
        ("roi.gamma=[0,1]", "in (0, 1]"),
        ("roi.gamma=[0.9,0.2]", "from low to high"),
        ("optimiser.ema=1", "in [0, 1)"),
        ("optimiser.betas=[0.9,1]", "in [0, 1)"),
        ("optimiser.clip=0", "positive"),
        ("optimiser.learning_rate=-1e-3", "0 or more"),
        ("optimiser.weight_decay=-1", "0 or more"),
        ("crops.squares_per_picture=0", "at least 1"),
        ("crops.downscale_fraction=1.1", "in [0, 1]"),
        ("crops.held_out=0", "at least 1"),
        ("validate.steps=0", "at least 1"),
        ("validate.pictures=0", "at least 1"),
        ("validate.side=0", "in [1, 4096]"),
        ("validate.side=100000", "in [1, 4096]"),
        ("validate.snr_db=[]", "at least one"),
        ("validate.cbr=[]", "at least one"),
        ("validate.cbr=[-1/48]", "in [1/768, 1/2]"),
    ],
)
def test_numbers_out_of_range_are_named_in_one_line(override: str, message: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(InputError) as caught:
        read_schedule(CONFIGS / "tiny" / "stage3.yaml", [override])
    assert str(caught.value).startswith(f"{key}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pictures", [0, -3])
def test_the_detector_is_validated_on_pictures(pictures: int) -> None:
    with pytest.raises(InputError, match=r"^validate.pictures: must be at least 1, not"):
        read_schedule(CONFIGS / "saliency.yaml", [f"validate.pictures={pictures}"])


def test_ends_of_ranges_are_allowed() -> None:
    kept = ["optimiser.learning_rate=0", "optimiser.ema=0", "loss.eta=1", "save_minutes=0"]
    kept += ["link.cbr=[1/768,1/2]", "link.snr_db=[10,10]", "roi.gamma=[1e-3,1]", "epochs=0"]
    stage = lrisc_stages(CONFIGS / "tiny" / "stage3.yaml", kept)[0]
    assert stage.link.cbr == (pytest.approx(1 / 768), 0.5)


def test_unreadable_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no config"):
        read_schedule(tmp_path / "none.yaml", [])
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        read_schedule(tmp_path / "bad.yaml", [])
    (tmp_path / "empty.yaml").write_text("preset: tiny")
    with pytest.raises(InputError, match="lacks name, output"):
        read_schedule(tmp_path / "empty.yaml", [])


def test_changes_skip_harmless_keys() -> None:
    path = CONFIGS / "tiny" / "stage1.yaml"
    saved = flatten(lrisc_stages(path, [])[0])
    same = read_schedule(path, ["steps=99", "data=/x", "max_minutes=3", "validate.side=64"])
    assert config_changes(saved, same.stages[0]) == []
    other = read_schedule(path, ["loss.eta=0.1", "batch_size=2"])
    assert config_changes(saved, other.stages[0]) == ["batch_size: 8 -> 2", "loss.eta: 0.5 -> 0.1"]


def test_rate_warm_up() -> None:
    loss = lrisc_stages(CONFIGS / "compact" / "stage1.yaml", [])[0].loss
    assert loss.rate_at(0) == loss.rate_at(299) == 1e-6
    assert loss.rate_at(300) < loss.rate_at(1800) < loss.rate_at(3300)
    assert loss.rate_at(3300) == loss.rate_at(10**6) == pytest.approx(loss.rate)
