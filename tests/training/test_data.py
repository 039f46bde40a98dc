"""Sources, the cache, and what happens to pictures that are not pictures."""

import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.runs import save_pictures

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.crops import centre_crops, crop_batch
from lrisc.training.data.squares import open_pictures


def config(cache: Path, **changed: object) -> DataConfig:
    return DataConfig(**({"crop": 64, "square": 64, "cache": str(cache)} | changed))  # type: ignore[arg-type]


def test_corrupt_and_small_pictures_are_counted_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_pictures(tmp_path / "d", 20)
    whole = (tmp_path / "d" / "000.png").read_bytes()
    (tmp_path / "d" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d" / "text.jpg").write_text("no picture")
    (tmp_path / "d" / "empty.png").touch()
    save_pictures(tmp_path / "d" / "small", 1, 32, 32)
    with caplog.at_level(logging.WARNING, "lrisc"):
        found = open_pictures((str(tmp_path / "d"),), config(tmp_path / "c"))
    assert len(found) == 20
    assert found.skipped == 4
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "4 pictures of d are corrupt or too small and are skipped"
    ]


@pytest.mark.parametrize(("count", "least"), [(3, 16), (20, 32)])
def test_too_few_pictures(tmp_path: Path, count: int, least: int) -> None:
    save_pictures(tmp_path / "d", count)
    with pytest.raises(InputError, match=f"only {count} usable squares.*at least {least}"):
        open_pictures((str(tmp_path / "d"),), config(tmp_path / "c"), least)


def test_missing_and_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_pictures((str(tmp_path / "none"),), config(tmp_path))
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"neither a folder nor a \.tar"):
        open_pictures((str(tmp_path / "a.txt"),), config(tmp_path))
    with pytest.raises(InputError, match="name a folder"):
        open_pictures((), config(tmp_path))
    save_pictures(tmp_path / "d", 16)
    with pytest.raises(InputError, match=r"picture cache .*crops.cache"):
        open_pictures((str(tmp_path / "d"),), config(tmp_path / "a.txt" / "cache"))


def test_shards_folders_and_coco_give_the_same_squares(tmp_path: Path) -> None:
    coco = tmp_path / "coco" / "train2017"
    save_pictures(coco, 18)
    save_pictures(tmp_path / "coco" / "val2017", 5)
    (tmp_path / "shards").mkdir()
    files = sorted(coco.iterdir())
    for number, part in enumerate((files[:9], files[9:])):
        with tarfile.open(tmp_path / "shards" / f"{number:04d}.tar", "w") as tar:
            for file in part:
                tar.add(file, arcname=file.name)
    folder = open_pictures((str(coco),), config(tmp_path / "c")).squares
    layout = open_pictures((str(tmp_path / "coco"),), config(tmp_path / "c")).squares
    shards = open_pictures((str(tmp_path / "shards"),), config(tmp_path / "c")).squares
    assert folder.shape == (18, 64, 64, 3)
    assert np.array_equal(folder, layout)
    assert np.array_equal(folder, shards)


def test_truncated_shard(tmp_path: Path) -> None:
    save_pictures(tmp_path / "d", 20)
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as tar:
        for file in sorted((tmp_path / "d").iterdir()):
            tar.add(file, arcname=file.name)
    offset = shard.stat().st_size * 9 // 10
    shard.write_bytes(shard.read_bytes()[:offset])
    found = open_pictures((str(shard),), config(tmp_path / "c"))
    assert 16 <= len(found) < 20
    assert found.skipped >= 1


def test_cache_is_built_once_and_anew_for_new_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "d", 17)
    first = open_pictures((str(tmp_path / "d"),), config(tmp_path / "c"))
    with monkeypatch.context() as patch:
        patch.setattr("lrisc.training.data.squares._build", lambda *_: pytest.fail("decoded again"))
        again = open_pictures((str(tmp_path / "d"),), config(tmp_path / "c"))
    assert again.key == first.key
    assert np.array_equal(first.squares, again.squares)
    save_pictures(tmp_path / "d", 19)
    assert len(open_pictures((str(tmp_path / "d"),), config(tmp_path / "c"))) == 19
    assert not list((tmp_path / "c").glob(".building-*"))


def test_number_of_pictures_and_squares(tmp_path: Path) -> None:
    save_pictures(tmp_path / "d", 20)
    some = config(tmp_path / "c", pictures=16, squares_per_picture=2)
    assert len(open_pictures((str(tmp_path / "d"),), some)) == 32


def test_squares_file(tmp_path: Path) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8)
    np.save(tmp_path / "s.npy", squares)
    found = open_pictures((str(tmp_path / "s.npy"),), config(tmp_path))
    assert np.array_equal(found.squares, squares)
    with pytest.raises(InputError, match=r"crops.crop is 128"):
        open_pictures((str(tmp_path / "s.npy"),), config(tmp_path, crop=128, square=128))


def test_crops_are_cut_flipped_and_averaged() -> None:
    ramp = np.arange(128, dtype=np.uint8)
    square = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(7)), axis=2)
    plain = crop_batch(square[None], Draws(0, 0, range(32)), DataConfig(crop=64, square=128))
    assert plain.shape == (32, 3, 64, 64)
    slopes = plain.float()[:, 1, 0, -1] - plain.float()[:, 1, 0, 0]
    halved = slopes.abs() > 100
    assert set(slopes.abs().tolist()) == {63.0, 126.0}  # full scale and half scale
    assert 2 <= int(halved.sum()) <= 16
    assert (slopes > 0).any()
    assert (slopes < 0).any()  # mirrored
    assert len({int(x) for x in plain[~halved, 0, 0, 0]}) > 5  # at many places
    assert bool((plain[:, 2] == 7).all())


def test_crops_of_a_part_are_part_of_the_joint_batch(squares) -> None:
    data = DataConfig(crop=32, square=64)
    joint = crop_batch(squares, Draws(3, 9, range(8)), data)
    second = crop_batch(squares, Draws(3, 9, range(4, 8)), data)
    assert torch.equal(joint[4:], second)
    assert not torch.equal(joint[:4], second)
    assert not torch.equal(joint, crop_batch(squares, Draws(3, 10, range(8)), data))


def test_centre_crops(tmp_path: Path) -> None:
    save_pictures(tmp_path, 3)
    (tmp_path / "000.png").write_text("broken")
    assert centre_crops((str(tmp_path),), 8, 64).shape == (2, 64, 64, 3)
    with pytest.raises(InputError, match="validation"):
        centre_crops((str(tmp_path),), 8, 256)
