import pytest

from lrisc.errors import InputError
from lrisc.models.config import PRESETS, ModelConfig


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_survives_json(name: str) -> None:
    import json

    config = PRESETS[name]
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rate_values": (0, 2, 4)}, "2^n"),
        ({"rate_values": (1, 2, 4, 8)}, "start at 0"),
        ({"rate_values": (0, 4, 2, 8)}, "rise"),
        ({"patch": 8}, "must be 16"),
        ({"unet_attention": (0,)}, "per U-Net level"),
        ({"context_widths": (8, 8, 8, 8)}, "more levels"),
    ],
)
def test_shapes_that_do_not_fit_are_rejected(change: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word.replace("^", r"\^")):
        ModelConfig.from_dict({**PRESETS["tiny"].to_dict(), **change})


def test_unknown_and_missing_names_are_rejected() -> None:
    values = PRESETS["tiny"].to_dict()
    values["colour"] = 3
    del values["patch"]
    with pytest.raises(InputError, match=r"colour.*patch"):
        ModelConfig.from_dict(values)
