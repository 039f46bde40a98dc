import numpy as np
import pytest

from lrisc.link.draws import Draws
from lrisc.training.saliency.composites import (
    Composer,
    clear_objects,
    paste_onto,
    plain_backgrounds,
)
from lrisc.training.saliency.distil import COMPOSITE_DRAWS, MaskedSquares, Shares, training_batch


def disc(side: int, radius: float) -> np.ndarray:
    """A map with a disc in its middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where(x**2 + y**2 < radius**2, 255, 0).astype(np.uint8)


def collection(value: int) -> MaskedSquares:
    """Grey pictures: two with a red disc, known as salient, and two with nothing."""
    pictures = np.full((4, 64, 64, 3), value, np.uint8)
    pictures[:2][:, disc(64, 16) > 0] = (250, 0, 0)
    maps = np.zeros((4, 32, 32), np.uint8)
    maps[:2] = disc(32, 8)
    return MaskedSquares(pictures, maps)


def pasted(
    data: MaskedSquares, found: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first picture's disc on the third, which has nothing."""
    return paste_onto(data.squares[2], found, data.squares[0], data.maps[0], numbers)


def test_what_can_be_cut_out() -> None:
    whole = np.full((32, 32), 255, np.uint8)
    unsure = (disc(32, 8) // 2).astype(np.uint8)
    at_the_border = np.zeros((32, 32), np.uint8)
    at_the_border[:12] = 255
    maps = np.stack([disc(32, 8), whole, unsure, at_the_border, np.zeros_like(whole)])
    assert clear_objects(maps).tolist() == [0]
    assert plain_backgrounds(maps).tolist() == [4]
    assert len(clear_objects(maps[:0])) == len(plain_backgrounds(maps[:0])) == 0


@pytest.mark.parametrize("seed", range(12))
def test_the_mask_says_where_it_was_pasted(seed: int) -> None:
    data = collection(100)
    numbers = np.random.default_rng(seed).random(7)
    numbers[5] = 0.9  # colours as they are
    before = data.squares[2].copy()
    picture, mask = pasted(data, data.maps[2][:16, :16], numbers)
    red = (picture[:, :, 0] > 150) & (picture[:, :, 1] < 90)
    salient = mask.repeat(4, 0).repeat(4, 1) > 127
    assert red.sum() > 20
    assert (red & salient).sum() / (red | salient).sum() > 0.6
    far = ~(mask > 0).repeat(4, 0).repeat(4, 1)
    assert np.all(picture[far] == 100)  # nothing else has changed
    assert np.array_equal(data.squares[2], before)


def test_what_was_salient_stays_so() -> None:
    data = collection(100)
    found = np.zeros((16, 16), np.uint8)
    found[:3] = 200
    _, mask = pasted(data, found, np.full(7, 0.6))
    assert mask[:3].min() == 200
    assert mask[4:].max() == 255


def test_shared_light_moves_the_colour_of_what_is_pasted() -> None:
    data = collection(100)
    numbers = np.full(7, 0.6)
    numbers[5:] = 0.0, 1.0
    picture, mask = pasted(data, data.maps[2][:16, :16], numbers)
    inside = picture[(mask == 255).repeat(4, 0).repeat(4, 1)]
    assert len(inside) > 0
    assert np.abs(inside.astype(float) - 100).max() < 10


def test_composites_in_a_batch() -> None:
    data = collection(100)
    compose = Composer(data, data)
    assert compose.possible
    assert COMPOSITE_DRAWS == 13
    draws = Draws(0, 1, range(40))
    pictures, targets = training_batch(data, data, Shares(0.5, 1.0), draws, 32, compose)
    again, _ = training_batch(data, data, Shares(0.5, 1.0), draws, 32, compose)
    assert pictures.equal(again)
    assert 0.02 < float(targets.mean()) < 0.6
    assert float(targets.amax((1, 2, 3)).min()) > 0.8  # something stands out in each
    plain, _ = training_batch(data, data, Shares(0.5, 0.0), draws, 32, compose)
    without, _ = training_batch(data, data, Shares(0.5, 0.0), draws, 32)
    assert plain.equal(without)


def test_no_composites_without_background() -> None:
    data = collection(100)
    full = MaskedSquares(data.squares, np.full_like(data.maps, 255))
    assert not Composer(full, data).possible
    nothing = MaskedSquares(data.squares[:0], data.maps[:0])
    assert not Composer(nothing, data).possible
