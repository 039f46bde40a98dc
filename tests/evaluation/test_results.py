"""Results folders: rows that survive, and rows that are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrisc.errors import InputError
from lrisc.evaluation.results import COLUMNS, INFO_FILE, ROWS_FILE, ResultsFolder, Row

ROW = Row(
    "bpg-ldpc", "a.png", "awgn", 10.0, 1 / 48, 0, "sent", False, 30.12345, 0.95, None, None, 0.0207,
    0.023, 0.029, 1.5, "16qam-2/3, QP 35",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    folder = ResultsFolder(tmp_path / "results")
    folder.prepare({"waveform": "ofdm"}, {"a.png": "1"}, {"bpg-ldpc": "x"})
    return folder


def test_rows_come_back(folder: ResultsFolder) -> None:
    lost = replace(ROW, snr_db=-0.5, status="outage", outage=True, psnr_db=float("inf"), lpips=0.5)
    none = replace(
        ROW, snr_db=5.0, status="impossible", psnr_db=None, ms_ssim=None, cbr=None,
        cbr_grid=None, cbr_on_air=None, note='too small, at\nleast "9"',
    )  # fmt: skip
    for row in (ROW, lost, none):
        folder.append(row)
    rows = folder.rows()
    assert [row.key for row in rows] == [ROW.key, lost.key, none.key]
    assert rows[0].psnr_db == 30.1234 or rows[0].psnr_db == 30.1235
    assert rows[0].lpips is None
    assert (rows[1].outage, rows[1].psnr_db) == (True, float("inf"))
    assert rows[2].note == 'too small, at least "9"'
    assert (folder.path / ROWS_FILE).read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("image", ["b  c.png", " a.png", 'ä, "b".png'])
def test_names_come_back_as_they_are(folder: ResultsFolder, image: str) -> None:
    folder.append(replace(ROW, image=image))
    assert [row.key for row in folder.rows()] == [replace(ROW, image=image).key]


def test_every_picture_has_a_file_of_its_own(folder: ResultsFolder) -> None:
    names = ("a b.png", "a_b.png", "a  b.png", "ä.png", "ö.png", "a.png")
    assert len({folder.source_path(name) for name in names}) == len(names)
    keys = [replace(ROW, image=name).key for name in names]
    assert len({folder.picture_path(key, ".png") for key in keys}) == len(names)
    assert folder.source_path("a.png").name == "a.png.png"


def test_half_a_row_is_none_and_is_cut_off(folder: ResultsFolder) -> None:
    folder.append(ROW)
    whole = (folder.path / ROWS_FILE).read_bytes()
    (folder.path / ROWS_FILE).write_bytes(whole + b"bpg-ldpc,a.png,awgn,5,0.0208,sent,fal")
    assert [row.key for row in folder.rows()] == [ROW.key]
    folder.append(replace(ROW, snr_db=20.0))
    assert [row.snr_db for row in folder.rows()] == [10.0, 20.0]


def test_order_is_by_scheme_condition_and_picture(folder: ResultsFolder) -> None:
    rows = [
        replace(ROW, scheme=scheme, image=image, snr_db=snr)
        for image in ("b.png", "a.png")
        for snr in (10.0, 5.0)
        for scheme in ("z", "bpg-ldpc")
    ]
    for row in rows:
        folder.append(row)
    folder.sort({"z": 0, "bpg-ldpc": 1})
    told = [(row.scheme, row.snr_db, row.image) for row in folder.rows()]
    assert told[:4] == [
        ("z", 5.0, "a.png"), ("z", 5.0, "b.png"), ("z", 10.0, "a.png"), ("z", 10.0, "b.png"),
    ]  # fmt: skip
    assert len(told) == 8


@pytest.mark.parametrize(
    ("settings", "images", "schemes", "word"),
    [
        ({"waveform": "x"}, {}, {}, "waveform"),
        ({}, {"a.png": "2"}, {}, "picture named a.png"),
        ({}, {}, {"bpg-ldpc": "y"}, "another bpg-ldpc"),
    ],
)
def test_rows_made_with_something_else_are_not_mixed(
    folder: ResultsFolder, settings: dict, images: dict, schemes: dict, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        folder.prepare({"waveform": "ofdm", **settings}, images, schemes)
    folder.prepare({"waveform": "ofdm"}, {"b.png": "3"}, {"lrisc": "z"})
    assert folder.info()["images"] == {"a.png": "1", "b.png": "3"}


def test_a_setting_that_only_one_sweep_has_is_another_one(folder: ResultsFolder) -> None:
    """`evaluate --waveform ofdm` added its rows to those of one sample a symbol, and back."""
    with pytest.raises(InputError, match="waveform ofdm, this sweep has unset"):
        folder.prepare({}, {}, {})
    with pytest.raises(InputError, match="speed unset, this sweep has 3"):
        folder.prepare({"waveform": "ofdm", "speed": 3.0}, {}, {})


def test_files_that_are_not_ours_are_refused(folder: ResultsFolder, tmp_path: Path) -> None:
    (folder.path / ROWS_FILE).write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="other columns"):
        folder.rows()
    (folder.path / ROWS_FILE).write_text(",".join(COLUMNS) + "\nx,y\n")
    with pytest.raises(InputError, match="line 2"):
        folder.rows()
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / ROWS_FILE).write_text("somebody's\n")
    with pytest.raises(InputError, match=INFO_FILE):
        ResultsFolder(stranger).prepare({}, {}, {})
    assert (stranger / ROWS_FILE).read_text() == "somebody's\n"
