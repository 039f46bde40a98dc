import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.roi.masks import region_mask

BLANK, LARGE = torch.zeros(3, 50, 100), torch.zeros(3, 80, 100)


def found(roi: Any, picture: torch.Tensor = BLANK) -> torch.Tensor:
    """The mask of a region that there is."""
    mask = region_mask(roi, picture)
    assert mask is not None
    return mask


def test_boxes_add_up() -> None:
    mask = found(["0,0,10,20", "90,40,10,10"])
    assert float(mask.sum()) == 300
    assert float(mask[19, 9]) == 1
    assert float(mask[20, 9]) == 0


def test_many_regions_are_never_in_memory_together() -> None:
    kept: list[weakref.ref[np.ndarray]] = []
    most = 0

    # An array, as tensors of one memory are many objects.
    def row(picture: torch.Tensor) -> Any:
        nonlocal most
        mask = np.zeros((50, 100), np.float32)
        mask[len(kept) % 50] = 1
        kept.append(weakref.ref(mask))
        most = max(most, sum(one() is not None for one in kept))
        return mask

    mask = region_mask([row] * 400, BLANK)
    assert mask is None  # their union is everything
    assert most <= 3


@pytest.mark.parametrize("roi", [None, "none", ["none"], "0,0,100,50"])
def test_no_region_and_the_whole_picture_are_the_same(roi: str | list[str] | None) -> None:
    assert region_mask(roi, BLANK) is None


def test_detectors_are_functions() -> None:
    def left(picture: torch.Tensor) -> torch.Tensor:
        assert picture is BLANK
        return (torch.arange(100) < 10).float().expand(50, 100)

    assert float(found(left).sum()) == 500
    assert float(found([left, "90,0,10,50"]).sum()) == 1000


def test_a_detector_that_finds_nothing_gives_no_region() -> None:
    assert region_mask(lambda _: 0.4 * torch.rand(50, 100), BLANK) is None
    assert float(found([lambda _: torch.zeros(50, 100), "0,0,5,5"]).sum()) == 25


def test_a_detectors_map_is_checked() -> None:
    with pytest.raises(InputError, match=r"the detector's map has 50×100 pixels"):
        region_mask(lambda _: torch.zeros(100, 50), BLANK)
    with pytest.raises(InputError, match="the detector's map must hold"):
        region_mask(lambda _: torch.full((50, 100), 3.0), BLANK)


def test_a_detector_that_fails_is_told_and_arrays_will_do() -> None:
    picture = torch.zeros(3, 64, 80)
    assert found(lambda _: np.eye(64, 80), picture).dtype == torch.float32
    for bad in (lambda _: 1 / 0, lambda _: "no map"):
        with pytest.raises(InputError, match=r"the detector failed: (Zero|Value|Type)"):
            region_mask(bad, picture)  # type: ignore[arg-type]


def test_a_mask_of_nothing_is_no_region() -> None:
    assert region_mask(torch.ones(50, 100), BLANK) is None
    assert region_mask(torch.zeros(50, 100), BLANK) is None


@pytest.mark.parametrize("box", ["-1,0,5,5", "0,0,0,5", "96,0,5,5", "0,46,5,5"])
def test_boxes_outside_are_told(box: str) -> None:
    with pytest.raises(InputError, match="does not lie in the picture"):
        region_mask(box, BLANK)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.1, 1.1])
def test_a_mask_holds_shares(value: float) -> None:
    mask = torch.zeros(50, 100)
    mask[3, 4] = value
    with pytest.raises(InputError, match=r"the mask must hold values in \[0, 1\]"):
        region_mask(mask, BLANK)


def test_mask_files(tmp_path: Path) -> None:
    picture = Image.new("L", (100, 80))
    picture.paste(255, (10, 10, 20, 20))
    picture.save(tmp_path / "m.png")
    assert float(found(str(tmp_path / "m.png"), LARGE).sum()) == 100
    with pytest.raises(InputError, match="100×80"):
        region_mask(tmp_path / "m.png", torch.zeros(3, 64, 64))
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="not a mask that can be read"):
        region_mask(tmp_path / "bad.png", LARGE)
    Image.new("L", (50, 40)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="the mask has 50×40 pixels, the picture"):
        region_mask(tmp_path / "small.png", LARGE)
    with pytest.raises(InputError, match="is a folder"):
        region_mask(tmp_path, LARGE)
    for text in ("0,0,32", "1.5,0,32,32"):
        with pytest.raises(InputError, match="a box is x,y,w,h in whole pixels"):
            region_mask(text, LARGE)
    with pytest.raises(InputError, match="there is no mask nowhere"):
        region_mask("nowhere.png", LARGE)


def test_sixteen_bits_and_transparency_mean_what_they_look_like(tmp_path: Path) -> None:
    wide = np.zeros((80, 100), np.uint16)
    wide[:10], wide[10:20] = 65535, 300
    Image.fromarray(wide).save(tmp_path / "wide.png")
    mask = found(tmp_path / "wide.png", LARGE)
    assert float(mask[5, 5]) == 1
    assert float(mask[15, 5]) < 0.01
    clear = Image.new("RGBA", (100, 80), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (0, 0, 10, 10))
    clear.save(tmp_path / "clear.png")
    assert float(found(tmp_path / "clear.png", LARGE).sum()) == 100


@pytest.mark.parametrize("digits", [10, 5000])
def test_a_number_of_many_digits_is_no_box(digits: int) -> None:
    with pytest.raises(InputError, match=r"box is|no mask|cannot read"):
        region_mask(f"1,1,{'9' * digits},5", torch.rand(3, 64, 64))


@pytest.mark.parametrize("roi", [(0, 0, 50, 40), 5, np.zeros((80, 100))])
def test_what_is_no_region_is_told(roi: Any) -> None:
    with pytest.raises(InputError, match="a region is the text of a box"):
        region_mask(roi, LARGE)
