from pathlib import Path

import pytest
import torch

from lrisc.checkpoint import embedded_names, load_checkpoint, save_checkpoint
from lrisc.errors import InputError
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc


@pytest.mark.slow
def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Lrisc(PRESETS["tiny"])
    save_checkpoint(tmp_path, model, {"description": "x"})
    loaded = load_checkpoint(tmp_path)
    assert loaded.info["description"] == "x"
    assert loaded.model.config == model.config
    for name, value in model.state_dict().items():
        back = loaded.model.state_dict()[name]
        assert back.dtype == value.dtype
        assert torch.equal(back, value.half().to(value.dtype))
    assert 0 <= loaded.checkpoint_id < 1 << 16
    assert loaded.sha256 == load_checkpoint(tmp_path).sha256


def test_the_default_model_comes_with_the_package() -> None:
    assert "compact" in embedded_names()


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"no checkpoint nothing: give one of .*compact"):
        load_checkpoint("nothing")


def test_weights_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    model = Lrisc(PRESETS["tiny"])
    with torch.no_grad():
        model.unet.get_submodule("out").get_parameter("bias")[0] = 1e6
    with pytest.raises(InputError, match="not finite in float16"):
        save_checkpoint(tmp_path, model)
