import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers import forget_hash

from lrisc.checkpoint import embedded_names, load_checkpoint, save_checkpoint
from lrisc.errors import InputError
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


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


def test_another_format(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(InputError, match="another format"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_checkpoint(folder)


def test_damaged_files(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        load_checkpoint(folder)


def test_weights_of_another_network(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["unet.out.bias"] = tensors["unet.out.bias"][:-1].clone()
    save_file(tensors, folder / "model.safetensors")
    forget_hash(folder)
    with pytest.raises(InputError, match=r"do not fit its config: 'unet\.out\.bias'"):
        load_checkpoint(folder)


def test_weights_that_are_not_finite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["unet.out.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    forget_hash(folder)
    with pytest.raises(InputError, match="not finite"):
        load_checkpoint(folder)
    model = Lrisc(PRESETS["tiny"])
    with torch.no_grad():
        model.unet.get_submodule("out").get_parameter("bias")[0] = 1e6
    with pytest.raises(InputError, match="not finite in float16"):
        save_checkpoint(folder, model)
