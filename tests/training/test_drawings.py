"""scripts/make_drawings.py: pictures that repeat by seed, of every kind."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tests.helpers import load_script


def test_drawings_repeat_by_seed_and_differ(tmp_path: Path, monkeypatch) -> None:
    script = load_script("scripts/make_drawings.py")
    folders = [tmp_path / name for name in ("first", "again", "other")]
    for folder, seed in zip(folders, ("3", "3", "4"), strict=True):
        given = [str(folder), "--number", "6", "--seed", seed, "--width", "96", "--height", "64"]
        monkeypatch.setattr(sys, "argv", ["make_drawings.py", *given])
        script.main()
    names, again, other = (sorted(file.name for file in folder.iterdir()) for folder in folders)
    assert names == again == other
    assert {name.partition("-")[0] for name in names} == {k.__name__ for k in script.KINDS}
    for name in names:
        first, same, new = (np.asarray(Image.open(folder / name)) for folder in folders)
        assert first.shape == (64, 96, 3)
        assert (first == same).all()
        assert (first != new).any()
        assert first.std() > 1  # something was drawn
