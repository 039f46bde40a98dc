"""The shipped configs are what made the shipped weights."""

import json
from importlib.resources import files
from pathlib import Path

from lrisc.training.config.schema import flatten
from lrisc.training.export import PLACES
from lrisc.training.schedule import read_schedule

CONFIGS = Path(__file__).parents[2] / "configs" / "compact"


def test_edition_yaml_is_the_record_of_the_shipped_weights() -> None:
    text = files("lrisc").joinpath("weights", "compact", "config.json").read_text()
    records = json.loads(text)["training"]
    stages = read_schedule(CONFIGS / "edition.yaml", []).stages
    assert len(stages) == 2
    for stage, record in zip(stages, records[-len(stages) :], strict=True):
        told = {k: v for k, v in flatten(stage).items() if k not in PLACES}
        assert told == record["config"]
        assert stage.name == record["stage"]
