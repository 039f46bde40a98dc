"""Checkpoints made to hang, to fill the memory, or to be something else than they say."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import forget_hash, refused, reweigh

from lrisc import checkpoint
from lrisc.checkpoint import load_checkpoint
from lrisc.errors import InputError
from lrisc.link.rate_map import RateMapPrior


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    info = json.loads(path.read_text())
    info["model"] |= changes
    path.write_text(json.dumps(info))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"jscc_blocks": 10**6}, {"analysis_blocks": 10**6}, {"snr_layers": 10**6},
        {"unet_widths": [10**6, 32, 48]}, {"unet_widths": [4096, 4096, 4096]},
        {"hyper_channels": 4000}, {"time_channels": 4096}, {"snr_layers": 0}, {"snr_layers": True},
        {"jscc_blocks": 64}, {"analysis_blocks": 1.5}, {"jscc_heads": 0}, {"jscc_window": "8"},
        {"rate_values": [0] * 2**20}, {"rate_values": [0, "x"]}, {"rate_values": 7},
        {"unet_widths": []}, {"unet_widths": None}, {"sigma_start": float("nan")},
        {"sigma_start": float("inf")}, {"sigma_start": "x"}, {"decode_steps": 10**9},
        {"unet_stem_kernel": 10**9}, {"patch": 0}, {"latent_channels": -1}, {"x" * 5000: 1},
        {"roi_steering": []}, {"jscc_heads": 7}, {"jscc_window": 64}, {"jscc_window": 32},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_config_of_absurd_sizes_is_told_at_once(folder: Path, change: dict[str, Any]) -> None:
    edit(folder, **change)
    refused(folder, load_checkpoint)


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (lambda table: None, "does not fit its config: rate_map_prior"),
        # A sound table of a network with half as many levels.
        (lambda table: torch.from_numpy(RateMapPrior.default(8).table), "does not fit its config"),
        (lambda table: table.long(), "does not fit its config"),
        (lambda table: table.float(), "does not fit its config"),
        (lambda table: table.bfloat16(), "does not fit its config"),
        (lambda table: table.to(torch.float8_e4m3fn), "does not fit its config"),
        (lambda table: table[0, 0], "does not fit its config"),
        (lambda table: table[0], "is damaged: rate_map_prior: .* shape"),
        (lambda table: table[:-1], "is damaged: rate_map_prior: .* shape"),
        (lambda table: table[:0], "is damaged: rate_map_prior: .* shape"),
        (lambda table: table + 1, "is damaged: rate_map_prior: .* sum to"),
        (lambda table: -table, "is damaged: rate_map_prior: .* sum to"),
        (lambda table: table.roll(1, 1) * 0 - 2**31, "is damaged: rate_map_prior: .* sum to"),
        (lambda table: torch.cat([table[:, :1] * 0, table[:, 1:]], 1), "is damaged: .* sum to"),
    ],
)
def test_rate_map_tables_that_are_none(
    folder: Path, made: Callable[[torch.Tensor], torch.Tensor | None], word: str
) -> None:
    def exchange(tensors: dict[str, torch.Tensor]) -> None:
        table = made(tensors.pop("rate_map_prior"))
        if table is not None:
            tensors["rate_map_prior"] = table.clone()

    reweigh(folder, exchange)
    refused(folder, load_checkpoint, word)


def test_exchanged_weights_are_known_by_their_hash(folder: Path) -> None:
    info = json.loads((folder / "config.json").read_text())
    loaded = load_checkpoint(folder)
    assert info["weights_sha256"] == loaded.sha256
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # a bit of a weight: still numbers, and still of the right shape
    path.write_bytes(data)
    refused(folder, load_checkpoint, "SHA-256")


def test_what_an_id_delivers_is_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def deliver(repository: str, **options: Any) -> str:
        asked.append((repository, options["revision"]))
        return str(folder)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", deliver)
    monkeypatch.chdir(tmp_path)
    first = load_checkpoint("someone/model@abc123").sha256
    assert load_checkpoint("someone/model").sha256 == first
    assert asked == [("someone/model", "abc123"), ("someone/model", None)]

    reweigh(folder, lambda tensors: tensors.update(
        {n: t + 1 if t.is_floating_point() else t for n, t in tensors.items()}))  # fmt: skip
    with pytest.raises(InputError, match="a revision does not change"):
        load_checkpoint("someone/model@abc123")
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint("someone/model").sha256 != first
    assert "name a revision" in caplog.text
    for name in ("a/b/c", "a/../b", "../x", "a/b@", "a/b@x/y", "/a/b", "a/b\n"):
        with pytest.raises(InputError):
            checkpoint.load_checkpoint(name)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("kind", "size"),
    [("F8_E8M0", 2), ("F4", 1), ("F6_E2M3", 2), ("U64", 16), ("C64", 16), ("X", 2), (None, 2)],
)
def test_types_that_this_torch_may_not_have(folder: Path, kind: str | None, size: int) -> None:
    tensor = {"dtype": kind, "shape": [2], "data_offsets": [0, size]}
    head = json.dumps({"x": tensor}).encode()
    data = len(head).to_bytes(8, "little") + head + bytes(size)
    (folder / "model.safetensors").write_bytes(data)
    forget_hash(folder)
    refused(folder, load_checkpoint)
