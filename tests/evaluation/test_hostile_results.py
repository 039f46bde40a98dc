"""A results folder that somebody else made: nothing outside it is written, and errors are lines."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import rows_of

from lrisc.errors import InputError
from lrisc.evaluation.figures import draw_all
from lrisc.evaluation.results import COLUMNS, INFO_FILE, ROWS_FILE, ResultsFolder, Row

ROW = Row(
    "mine", "a.png", "awgn", 10.0, 1 / 48, 0, "sent", False, 30.0, 0.95, 0.1, None, *[0.02] * 3, 1.5
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    folder = ResultsFolder(tmp_path / "in" / "results")
    folder.prepare({}, {"a.png": "1"}, {"mine": "x"})
    for snr_db in (0.0, 10.0):
        folder.append(replace(ROW, snr_db=snr_db))
    return folder


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def rewrite(folder: ResultsFolder, **values: str) -> None:
    """Put cells into every row, whatever they are."""
    path = folder.path / ROWS_FILE
    rows = rows_of(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **values} for row in rows)


@pytest.mark.parametrize("name", ["/../../../x/awgn", "..", "a/b", "", "x" * 5000, "a\0b", "a b"])
def test_a_channel_is_no_path(folder: ResultsFolder, tmp_path: Path, name: str) -> None:
    rewrite(folder, channel=name)
    before = files(tmp_path)
    with pytest.raises(InputError, match="name of a channel"):
        list(draw_all(folder.path, folder.path / "figures"))
    assert files(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("image", ["/../../../x/a.png", "..", "../../a.png", "x" * 5000, "a\0b"])
@pytest.mark.parametrize("scheme", ["mine", "..", "lrisc-roi:../../x"])
def test_pictures_and_schemes_are_no_paths(
    folder: ResultsFolder, tmp_path: Path, image: str, scheme: str
) -> None:
    rewrite(folder, image=image, scheme=scheme)
    before = files(tmp_path)
    for path in draw_all(folder.path, folder.path / "figures"):
        assert path.resolve().parent == folder.path / "figures"
    key = replace(ROW, image=image, scheme=scheme).key
    for path in (folder.picture_path(key, ".png"), folder.source_path(image)):
        assert (folder.path / "pictures") in path.resolve().parents
    assert {path for path in files(tmp_path) - before if path.parent.name != "figures"} == set()


@pytest.mark.parametrize(
    "cells",
    [
        {"psnr_db": ""}, {"ms_ssim": ""}, {"cbr": ""}, {"cbr_grid": ""},
        {"status": "impossible"}, {"status": "x"},
        {"outage": "true"}, {"outage": "yes"}, {"status": "outage"}, {"snr_db": "1e308"},
        {"snr_db": "nan"}, {"psnr_db": "nan"}, {"ms_ssim": "inf"}, {"cbr_target": "0"},
        {"cbr_target": "1e-400"}, {"cbr_target": "7"}, {"seconds": "-inf"}, {"lpips": "nan"},
        {"snr_db": "1" * 5000}, {"note": "x" * 140_000}, {"seconds": "x"},
        {"seed": ""}, {"seed": "-1"}, {"seed": "0.5"}, {"seed": "9" * 5000}, {"lpips_vgg": "nan"},
        {"seconds": "x" * 5000},
    ],
    ids=lambda cells: str(cells)[:30],
)  # fmt: skip
def test_rows_that_we_never_write_are_one_line(
    folder: ResultsFolder, cells: dict[str, str]
) -> None:
    rewrite(folder, **cells)
    # Told by the line, and not because little is left to draw.
    where = "field larger than" if "note" in cells else r"results\.csv, line 2: "
    with pytest.raises(InputError, match=where) as told:
        list(draw_all(folder.path, folder.path / "figures"))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "another version"), ("null", "another version"), ("{}", "another version"),
        ('{"format": 3, "settings": {}, "images": {}, "schemes": {}}', "another version"),
        ("[" * 100_000, "cannot read"), ("1" * 5000, "cannot read"), ("{", "cannot read"),
    ],
)  # fmt: skip
def test_a_sweep_file_that_we_never_write_is_one_line(
    folder: ResultsFolder, text: str, word: str
) -> None:
    (folder.path / INFO_FILE).write_text(text)
    with pytest.raises(InputError, match=word) as told:
        list(draw_all(folder.path, folder.path / "figures"))
    assert len(str(told.value)) < 500
    with pytest.raises(InputError, match=word):
        folder.prepare({"seed": 0}, {}, {})


@pytest.mark.parametrize("part", ["settings", "images", "schemes"])
@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_a_sweep_file_without_its_parts_is_one_line(
    folder: ResultsFolder, part: str, value: object
) -> None:
    path = folder.path / INFO_FILE
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, part: value}))
    with pytest.raises(InputError, match=f"damaged: its {part} are missing"):
        list(draw_all(folder.path, folder.path / "figures"))
    path.write_text(json.dumps({name: info[name] for name in info if name != part}))
    with pytest.raises(InputError, match=f"damaged: its {part} are missing"):
        folder.prepare({}, {"a.png": "1"}, {"mine": "x"})


def test_dollars_are_no_formulas(folder: ResultsFolder) -> None:
    rewrite(folder, scheme="$\\frac{1$", image="$x_{$.png")
    assert list(draw_all(folder.path, folder.path / "figures"))


def test_cells_are_no_formulas(folder: ResultsFolder, tmp_path: Path) -> None:
    evil = replace(ROW, image="=cmd|' 'C'!A0.png", scheme="-mine", note="@SUM(A1)")
    folder.append(evil)
    folder.append(replace(evil, snr_db=0.0))
    assert evil.key in {row.key for row in folder.rows()}
    assert {row.note for row in folder.rows()} == {"", "@SUM(A1)"}
    list(draw_all(folder.path, tmp_path / "figures"))
    for path in [folder.path / ROWS_FILE, *(tmp_path / "figures").glob("*.csv")]:
        with path.open(newline="") as file:
            for line in csv.reader(file):
                assert not any(
                    cell.startswith(("=", "+", "@", "-mine", "\t", "\r")) for cell in line
                )
    # A name that begins with the very mark comes back, too.
    quoted = replace(ROW, image="'=x.png")
    folder.append(quoted)
    assert quoted.key in {row.key for row in folder.rows()}


def test_too_little_to_draw_is_told(folder: ResultsFolder) -> None:
    path = folder.path / ROWS_FILE
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(InputError, match="nothing to draw"):
        list(draw_all(folder.path, folder.path / "figures"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["picture", "source", "rate", "rate-shape", "rate-object"])
def test_a_damaged_kept_file_is_one_line(folder: ResultsFolder, what: str) -> None:
    row = replace(ROW, snr_db=0.0)
    kept = {
        "picture": folder.picture_path(row.key, ".png"),
        "source": folder.source_path(row.image),
    }
    for path in kept.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(path)
    rate = folder.picture_path(row.key, ".rate.npy")
    np.save(rate, np.ones((4, 4), np.int32))
    assert list(draw_all(folder.path, folder.path / "figures"))
    if what == "rate-shape":
        np.save(rate, np.ones(7))
    elif what == "rate-object":
        np.save(rate, np.array([{}, 1], dtype=object), allow_pickle=True)
    else:
        kept.get(what, rate).write_bytes(b"\x93NUMPY\x01\x00v\x00broken")
    with pytest.raises(InputError):
        list(draw_all(folder.path, folder.path / "figures"))
    assert json.loads((folder.path / INFO_FILE).read_text())


@pytest.mark.parametrize("name", [INFO_FILE, ROWS_FILE])
@pytest.mark.parametrize("kind", ["fifo", "endless", "folder", "huge"])
def test_files_of_results_are_regular(folder: ResultsFolder, name: str, kind: str) -> None:
    path = folder.path / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 34)
    with pytest.raises(InputError, match=r"not a file of results|no file of results needs"):
        list(draw_all(folder.path, folder.path / "figures"))
