"""Folders made to crash or to fill a machine: one line each, for every kind of network."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers import refused, reweigh

from lrisc.baselines.deepjscc.codec import DeepJscc, save
from lrisc.baselines.deepjscc.network import DeepJsccConfig, DeepJsccNetwork
from lrisc.checkpoint import load_checkpoint
from lrisc.roi.saliency import SaliencyConfig, SaliencyNet, load_detector, save_detector

Loader = Callable[[Path], object]
KINDS = ("lrisc", "deepjscc", "saliency")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tiny_folder: Path, tmp_path: Path) -> tuple[Path, Loader]:
    """A good folder of each kind, and what reads it."""
    folder = tmp_path / "good"
    if request.param == "lrisc":
        return Path(shutil.copytree(tiny_folder, folder)), load_checkpoint
    if request.param == "deepjscc":
        save(folder, DeepJsccNetwork(DeepJsccConfig(1)), {"snr_db": [0, 10]})
        return folder, DeepJscc.from_pretrained
    save_detector(folder, SaliencyNet(SaliencyConfig((8, 8, 8, 8), (0, 1, 1, 1))), {})
    return folder, load_detector


def first(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name, t in tensors.items() if t.is_floating_point())


@pytest.mark.parametrize("dtype", [
    torch.float64, torch.int64, torch.int32, torch.int8, torch.float8_e4m3fn, torch.complex64,
    torch.bool,
])  # fmt: skip
def test_only_16_and_32_bit_floats_are_weights(
    kind: tuple[Path, Loader], dtype: torch.dtype
) -> None:
    reweigh(kind[0], lambda t: t.update({first(t): t[first(t)].to(dtype)}))
    refused(*kind, f"{str(dtype).removeprefix('torch.')}, no float")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_other_precisions_are_read(kind: tuple[Path, Loader], dtype: torch.dtype) -> None:
    reweigh(
        kind[0],
        lambda t: t.update({k: v.to(dtype) for k, v in t.items() if v.is_floating_point()}),
    )
    kind[1](kind[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_are_finite(kind: tuple[Path, Loader], value: float) -> None:
    reweigh(kind[0], lambda t: t[first(t)].view(-1).__setitem__(0, value))
    refused(*kind, "not finite")


def test_a_weight_too_many_or_too_few(kind: tuple[Path, Loader]) -> None:
    reweigh(kind[0], lambda t: t.update({"extra" * 100: torch.zeros(1)}))
    refused(*kind, "do not fit its config: 'extra")
    reweigh(kind[0], lambda t: (t.pop("extra" * 100), t.pop(first(t))))
    refused(*kind, "do not fit its config")


def test_a_weight_of_another_shape(kind: tuple[Path, Loader]) -> None:
    def shorten(tensors: dict[str, torch.Tensor]) -> None:
        tensors[first(tensors)] = tensors[first(tensors)][:-1].clone()

    reweigh(kind[0], shorten)
    refused(*kind, "do not fit its config: '[a-z]")


def test_weights_that_are_cut_short(kind: tuple[Path, Loader]) -> None:
    weights = kind[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(*kind, "damaged")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\x00", "9" * 5000, "[]", "3", "null"])
def test_configs_that_cannot_be_read(kind: tuple[Path, Loader], text: str) -> None:
    (kind[0] / "config.json").write_text(text)
    refused(*kind, "cannot read")


@pytest.mark.parametrize("text", ["{}", '{"format": 99}'])
def test_configs_of_another_format(kind: tuple[Path, Loader], text: str) -> None:
    (kind[0] / "config.json").write_text(text)
    refused(*kind, "another format")


@pytest.mark.parametrize("rest", [{}, {"model": 3, "network": 3}])
def test_configs_without_networks(kind: tuple[Path, Loader], rest: dict[str, int]) -> None:
    path = kind[0] / "config.json"
    path.write_text(json.dumps({"format": json.loads(path.read_text())["format"], **rest}))
    refused(*kind)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", [10**9, -1, 1.5, "8", None, True, [], [10**9] * 4, [1] * 10**5, {"a": 1}]
)
def test_sizes_that_no_network_has(kind: tuple[Path, Loader], value: object) -> None:
    path = kind[0] / "config.json"
    good = json.loads(path.read_text())
    group = "network" if "network" in good else "model"
    for key in good[group]:
        if (key, value) in (("sigma_start", 1.5), ("snr_gains", True)):
            continue  # there is nothing wrong with these
        changed = {**good, group: {**good[group], key: value}}
        path.write_text(json.dumps(changed))
        refused(*kind, key + "|fit its config|no networks|out of their ranges|whole numbers|needs")
    path.write_text(json.dumps({**good, group: value}))
    refused(*kind, "describes no networks|config")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_folders_and_links_to_nowhere(kind: tuple[Path, Loader], name: str) -> None:
    (kind[0] / name).unlink()
    refused(*kind, f"{name} is missing")
    (kind[0] / name).mkdir()
    refused(*kind, "a folder")
