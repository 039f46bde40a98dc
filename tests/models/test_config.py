from dataclasses import replace

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


def test_configs_of_older_checkpoints_load() -> None:
    """What later versions added has the value it meant then; one name was another."""
    values = PRESETS["paper"].to_dict()
    for name in ("sigma_start", "decode_steps", "roi_steering"):
        del values[name]
    config = ModelConfig.from_dict({**values, "initial_noise": 0.8})
    assert (config.sigma_start, config.decode_steps, config.roi_steering) == (0.8, 1, "power")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sigma_start": -0.1}, "sigma_start"),
        ({"sigma_start": float("nan")}, "sigma_start"),
        ({"decode_steps": 0}, "decode_steps"),
        ({"roi_steering": "sideways"}, "roi_steering"),
        ({"jscc_blocks": 65}, r"jscc_blocks must be whole numbers in \[0, 64\]"),
        ({"snr_layers": 65}, r"snr_layers must be whole numbers in \[0, 64\]"),
        ({"snr_hidden": 4097}, r"snr_hidden must be whole numbers in \[0, 4096\]"),
        ({"unet_widths": [8] * 65, "unet_attention": [0] * 65}, "unet_widths must be whole"),
        ({"unet_widths": [8] * 8, "unet_attention": [0] * 8}, "too many levels: 8"),
        ({"jscc_window": 4096}, r"jscc_window must be whole numbers in \[0, 32\]"),
        ({"jscc_window": 33}, r"jscc_window must be whole numbers in \[0, 32\]"),
        ({"jscc_window": 32, "jscc_blocks": 17}, "no 17 transformer blocks"),
        ({"jscc_window": 0}, "windows of 0"),
    ],
)
def test_how_a_checkpoint_is_used_is_checked(change: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        ModelConfig.from_dict({**PRESETS["tiny"].to_dict(), **change})


def test_how_networks_are_used_may_differ_their_shapes_may_not() -> None:
    tiny = PRESETS["tiny"]
    assert tiny.same_networks(replace(tiny, rate_rule="uniform", decode_steps=4, sigma_start=0.5))
    assert not tiny.same_networks(replace(tiny, snr_hidden=8))
