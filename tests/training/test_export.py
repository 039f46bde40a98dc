"""Cards of what goes on from the shipped weights, whose records are of several releases."""

import json
from importlib.resources import files
from typing import Any

import pytest

from lrisc.baselines.deepjscc.network import PRESETS as DEEPJSCC
from lrisc.baselines.deepjscc.network import DeepJsccNetwork
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.export import model_card
from lrisc.training.tasks import deepjscc


def shipped_records(name: str) -> list[dict[str, Any]]:
    text = files("lrisc").joinpath("weights", name, "config.json").read_text()
    return json.loads(text)["training"]


def test_lrisc() -> None:
    card = model_card(Lrisc(PRESETS["tiny"]), shipped_records("compact"), "float32")
    assert "80% awgn, 20% rayleigh" in card


@pytest.mark.parametrize("name", ["deepjscc-1-48", "deepjscc-1-12"])
def test_deepjscc(name: str) -> None:
    card = deepjscc.model_card(
        DeepJsccNetwork(DEEPJSCC["deepjscc-2"]), shipped_records(name), "float32"
    )
    assert "% awgn" in card
