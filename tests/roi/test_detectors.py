import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.roi import detectors
from lrisc.roi.detectors import find_detector, is_detector


@pytest.fixture(autouse=True)
def _fresh() -> None:
    detectors._rembg.cache_clear()


def test_names() -> None:
    assert all(is_detector(n) for n in ("auto", "rembg:u2net", "rembg:isnet-general-use"))
    assert is_detector("detector:gcpanet")
    assert not any(is_detector(n) for n in ("none", "1,2,3,4", "mask.png", "C:mask.png", "rembg:"))


def test_rembg_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(InputError, match=r"lrisc\[rembg\]"):
        find_detector("rembg:u2net")


def test_rembg_is_used_as_its_manual_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rembg: Any = ModuleType("rembg")

    def new_session(name: str) -> str:
        if name == "offline":
            raise OSError("no route to host")
        if name != "u2net":
            raise ValueError(f"No session class found for model '{name}'")
        return "session"

    def remove(image: Image.Image, session: str, only_mask: bool) -> Image.Image:
        assert (session, only_mask, image.size) == ("session", True, (100, 80))
        return Image.fromarray(np.full((80, 100), 51, np.uint8))

    rembg.new_session, rembg.remove = new_session, remove
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    found = find_detector("rembg:u2net")(torch.zeros(3, 80, 100))
    torch.testing.assert_close(found, torch.full((80, 100), 0.2))
    with pytest.raises(InputError, match="rembg has no model hope"):
        find_detector("rembg:hope")
    with pytest.raises(InputError, match="could not fetch its model offline"):
        find_detector("rembg:offline")


def test_a_detector_by_its_name_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors.DETECTORS, "_things", {"mine": lambda picture: picture[0]})
    assert find_detector("detector:mine")(torch.ones(3, 4, 5)).shape == (4, 5)
    with pytest.raises(InputError, match="unknown detector 'other'; choose one of mine"):
        find_detector("detector:other")
    assert detectors.detector_version("detector:mine") == "unknown"


def test_our_own_detector_is_told_by_its_weights() -> None:
    assert len(detectors.detector_version("auto")) == 16


def test_unknown_kinds() -> None:
    with pytest.raises(InputError, match="no detector 'magic'"):
        find_detector("magic")
