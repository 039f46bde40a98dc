"""scripts/make_drawings.py: pictures that repeat by seed, of every kind."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
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


def test_their_table_has_a_mean_of_kinds_however_many_pictures_each_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        SimpleNamespace(scheme=scheme, image=image, psnr_db=psnr + gain, lpips=lpips)
        for scheme, gain in (("lrisc", 0), ("bpg-ldpc", 1))
        for image, psnr, lpips in (
            ("text-0.png", 20, 0.2), ("text-6.png", 22, 0.4), ("sky-4.png", 41, 0.1)
        )
    ]  # fmt: skip
    load_script("scripts/results_table.py").by_kind(rows)
    lines = capsys.readouterr().out.splitlines()
    assert "| kind | lrisc | bpg-ldpc |" in lines
    assert "| text | 21.00 / 0.3000 | 22.00 / 0.3000 |" in lines
    assert "| mean | 31.00 / 0.2000 | 32.00 / 0.2000 |" in lines
