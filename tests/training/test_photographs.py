"""Crops cut from photographs decoded anew, from folders and from shards, with and without masks."""

import logging
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.conditions import draw_regions
from lrisc.training.config.read import build, read_yaml
from lrisc.training.config.schema import DataConfig, LriscStage, RoiConfig
from lrisc.training.data.masks import MaskFolder
from lrisc.training.data.opened import open_data
from lrisc.training.data.photographs import open_photographs

PAPER = Path(__file__).parents[2] / "configs" / "paper"


def stage(folder: Path, cache: Path, **crops: object) -> LriscStage:
    config = build(LriscStage, read_yaml(PAPER / "stage1.yaml"))
    chosen = replace(config.crops, crop=64, square=64, cache=str(cache), held_out=4, **crops)
    return replace(config, data=(str(folder),), crops=chosen)


def noise(folder: Path, count: int, width: int = 96, height: int = 80) -> list[np.ndarray]:
    """Pictures of noise: no two crops of them are alike."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
    return list(pixels)


@pytest.mark.slow
def test_the_papers_crops_are_random_and_at_the_pictures_scale(tmp_path: Path) -> None:
    pictures = noise(tmp_path / "d", 20)
    config = stage(tmp_path / "d", tmp_path / "c")
    data = open_data(config)
    assert data.count == 16
    crops = torch.cat([data.crops(step, range(16)) for step in range(60)])
    crops = crops.permute(0, 2, 3, 1).numpy()
    assert len({crop.tobytes() for crop in crops}) > 700  # of 960; 561 places, mirrored or not
    inside = 0
    for crop in crops[:40]:
        shown = (crop, crop[:, ::-1])
        inside += any(
            np.array_equal(picture[top : top + 64, left : left + 64], cut)
            for picture in pictures[:16]
            for cut in shown
            for top in range(17)
            for left in range(33)
            if np.array_equal(picture[top, left], cut[0, 0])
        )
    assert inside == 40


def test_an_epoch_is_every_photograph_once(tmp_path: Path) -> None:
    noise(tmp_path / "d", 20)
    data = open_data(stage(tmp_path / "d", tmp_path / "c"))
    found = open_photographs((str(tmp_path / "d"),), stage(tmp_path, tmp_path / "c").crops)
    seen = [found._at(place, 7) for place in range(40)]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:] != list(range(20))
    joint, second = data.crops(5, range(16)), data.crops(5, range(8, 16))
    assert torch.equal(joint[8:], second)


def shards(folder: Path, count: int, to: Path, each: int = 5) -> None:
    to.mkdir(parents=True)
    files = sorted(folder.iterdir())[:count]
    for number in range(0, count, each):
        with tarfile.open(to / f"{number:04d}.tar", "w") as tar:
            for file in files[number : number + each]:
                tar.add(file, arcname=file.name)
                side = tmp_text(file)
                tar.add(side, arcname=side.name)


def tmp_text(file: Path) -> Path:
    """WebDataset's neighbour of a picture."""
    side = file.parent.parent / f"{file.stem}.json"
    side.write_text("{}")
    return side


def test_shards_are_read_in_place_and_near_one_another(tmp_path: Path) -> None:
    noise(tmp_path / "d", 60)
    shards(tmp_path / "d", 60, tmp_path / "s")
    crops = stage(tmp_path, tmp_path / "c").crops
    loose = open_photographs((str(tmp_path / "d"),), crops)
    packed = open_photographs((str(tmp_path / "s"),), crops)
    assert len(loose) == len(packed) == 60
    assert np.array_equal(loose.squares(range(60), 64), packed.squares(range(60), 64))
    order = [packed._at(place, 1) for place in range(60)]
    assert sorted(order) == list(range(60))
    # Of 12 shards no more than 8 are open at a time.
    assert len({at // 5 for at in order[:40]}) == 8
    assert order[:5] != sorted(order[:5])
    assert not list((tmp_path / "c").glob("*.npy"))


def test_broken_photographs_give_way_to_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise(tmp_path / "d", 20)
    noise(tmp_path / "d" / "small", 2, 32, 32)
    (tmp_path / "d" / "text.jpg").write_text("no picture")
    whole = (tmp_path / "d" / "003.png").read_bytes()
    (tmp_path / "d" / "003.png").write_bytes(whole[: len(whole) // 2])
    data = DataConfig(crop=64, cache=str(tmp_path / "c"), decode="always")
    with caplog.at_level(logging.WARNING, "lrisc"):
        found = open_photographs((str(tmp_path / "d"),), data)
        assert found.crops(0, Draws(0, 0, range(20)), 0).shape == (20, 3, 64, 64)
        assert found.crops(20, Draws(0, 1, range(20)), 0).shape == (20, 3, 64, 64)
    assert found.skipped == 3
    assert "3 pictures of d are corrupt or too small" in caplog.text
    assert caplog.text.count("003.png is passed over") == 1
    with pytest.raises(InputError, match="only 20 usable pictures of 64 pixels"):
        open_photographs((str(tmp_path / "d"),), data, least=32)


@pytest.mark.parametrize("decode", ["once", "always"])
def test_masks_made_offline_follow_their_crops(tmp_path: Path, decode: str) -> None:
    """The mask of a picture is where it is red; so it is in every crop."""
    (tmp_path / "d").mkdir()
    (tmp_path / "m").mkdir()
    for number in range(20):
        pixels = np.zeros((80, 96, 3), np.uint8)
        pixels[10 + number :, 20 + number : 60 + number, 0] = 255
        Image.fromarray(pixels).save(tmp_path / "d" / f"{number:03d}.png")
        if number != 5:
            Image.fromarray(pixels[..., 0]).save(tmp_path / "m" / f"{number:03d}.png")
    config = stage(tmp_path / "d", tmp_path / "c", decode=decode)
    roi = RoiConfig(fraction=1.0, detector_fraction=1.0, masks=str(tmp_path / "m"))
    data = open_data(replace(config, roi=roi))
    assert data.squares.shape[-1] == data.held_out.shape[-1] == 3
    crops = torch.cat([data.crops(step, range(16)) for step in range(4)])
    assert crops.shape[1] == 4
    has = crops[:, 3].amax((1, 2)) > 0
    assert int(has.sum()) > 48
    wrong = (crops[has, 0].float() - crops[has, 3].float()).abs() > 100
    assert float(wrong.float().mean()) < 0.01  # scaled ones differ at their edges
    regions = draw_regions(Draws(0, 0, range(64)), roi, crops[:, :3], crops[:, 3:])
    assert regions is not None
    assert torch.equal(regions.mask[has], crops[has, 3:] / 255)
    assert bool((regions.mask[~has].amax((1, 2, 3)) > 0).all())  # random ones instead


def test_masks_of_other_pictures_are_refused(tmp_path: Path) -> None:
    noise(tmp_path / "d", 20)
    (tmp_path / "m").mkdir()
    config = stage(tmp_path / "d", tmp_path / "c")
    for complaint in ("holds no mask", "no mask in .* is named as"):
        roi = RoiConfig(fraction=1.0, masks=str(tmp_path / "m"))
        with pytest.raises(InputError, match=complaint):
            open_data(replace(config, roi=roi))
        Image.new("L", (96, 80)).save(tmp_path / "m" / "other.png")


def halves(folder: Path, masks: Path, subfolders: tuple[str, ...] = ("a", "b")) -> None:
    """The same names in two folders: red and its mask left in the first, right in the second."""
    for subfolder, red in zip(subfolders, (slice(0, 48), slice(48, 96)), strict=True):
        for place in (folder / subfolder, masks / subfolder):
            place.mkdir(parents=True, exist_ok=True)
        for number in range(10):
            pixels = np.full((80, 96, 3), 8 * number, np.uint8)
            pixels[:, red, 0] = 255
            Image.fromarray(pixels).save(folder / subfolder / f"{number}.png")
            Image.fromarray(pixels[..., 0]).point(lambda v: 255 * (v == 255)).save(
                masks / subfolder / f"{number}.png"
            )


@pytest.mark.parametrize("decode", ["once", "always"])
@pytest.mark.parametrize("packed", [False, True], ids=["folders", "shard"])
def test_masks_in_subfolders_go_with_their_photographs(
    tmp_path: Path, decode: str, packed: bool
) -> None:
    source = tmp_path / "d"
    halves(source, tmp_path / "m")
    if packed:
        source = tmp_path / "d.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(tmp_path / "d", ".")
    config = stage(source, tmp_path / "c", decode=decode)
    data = open_data(replace(config, roi=RoiConfig(fraction=1.0, masks=str(tmp_path / "m"))))
    crops = torch.cat([data.crops(step, range(16)) for step in range(2)]).float()
    wrong = ((crops[:, 0] > 250).float() * 255 - crops[:, 3]).abs() > 200
    assert float(wrong.float().mean()) < 0.01


@pytest.mark.parametrize("decode", ["once", "always"])
def test_masks_that_may_be_of_several_photographs_are_refused(tmp_path: Path, decode: str) -> None:
    halves(tmp_path / "d", tmp_path / "m")
    halves(tmp_path / "flat", tmp_path / "elsewhere", ("", ""))
    for data, masks, complaint in (
        ("d", "elsewhere", r"0\.png would be of both .*a/0\.png and .*b/0\.png"),
        ("flat", "m", r"a/0\.png and .*b/0\.png could both be of .*flat/0\.png"),
    ):
        config = stage(tmp_path / data, tmp_path / "c", decode=decode)
        with pytest.raises(InputError, match=f"^roi.masks: .*{complaint}") as caught:
            open_data(replace(config, roi=RoiConfig(fraction=1.0, masks=str(tmp_path / masks))))
        assert "\n" not in str(caught.value)


def test_a_mask_that_moves_to_another_subfolder_is_another_mask(tmp_path: Path) -> None:
    noise(tmp_path / "m" / "a", 1)
    before = MaskFolder(str(tmp_path / "m")).key
    (tmp_path / "m" / "a").rename(tmp_path / "m" / "c")
    assert MaskFolder(str(tmp_path / "m")).key != before
