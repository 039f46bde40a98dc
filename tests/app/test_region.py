import numpy as np
import pytest
from PIL import Image, ImageDraw

from lrisc.app.region import BOXES, FOUND, PAINTED, chosen_region, painted_mask, parse_boxes
from lrisc.errors import InputError


def layer(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGBA", size)
    ImageDraw.Draw(image).rectangle(box, fill=(255, 0, 0, 120))
    return image


def test_paint_is_scaled_to_the_picture_that_is_sent() -> None:
    mask = painted_mask([layer((100, 50), (0, 0, 49, 49))], (400, 200))
    assert mask is not None
    assert mask.shape == (200, 400)
    assert mask[:, :190].all()
    assert not mask[:, 210:].any()


def test_layers_add_up_and_no_paint_is_no_region() -> None:
    two = [layer((64, 64), (0, 0, 9, 9)), layer((64, 64), (50, 50, 63, 63))]
    mask = painted_mask(two, (64, 64))
    assert mask is not None
    assert set(np.unique(mask)) == {0, 1}
    assert mask[5, 5] == mask[60, 60] == 1
    assert painted_mask([Image.new("RGBA", (64, 64))], (64, 64)) is None
    assert chosen_region(PAINTED, [], "", (64, 64)) is None


def test_found_and_boxes() -> None:
    assert chosen_region(FOUND, [], "", (64, 64)) == "auto"
    assert chosen_region(BOXES, [], "1,2,3,4; 5, 6,7 ,8", (64, 64)) == ["1,2,3,4", "5,6,7,8"]


@pytest.mark.parametrize("text", ["", "  ", "/etc/passwd", "auto", "1,2,3", "1,2,3,4 mask.png"])
def test_what_is_no_box_never_reaches_the_file_system(text: str) -> None:
    with pytest.raises(InputError, match="x,y,w,h"):
        parse_boxes(text)


def test_boxes_are_few_and_their_text_is_short() -> None:
    assert len(parse_boxes("1,1,9,9 " * 32)) == 32
    with pytest.raises(InputError, match="more than 1000 characters"):
        parse_boxes("1,1,9,9" + " " * 1000)
    for text in ("1,1,9,9 " * 33, "1,1,9,9 " * 200_000, "1,1," + "9" * 5000 + ",5"):
        with pytest.raises(InputError):
            parse_boxes(text)
    with pytest.raises(InputError, match="x,y,w,h"):
        parse_boxes("1,1," + "9" * 20 + ",5")
