"""No command costs a user a file: what is wrong is told before anything is touched."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import run


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image, tiny_folder: Path
) -> Path:
    """A folder with photo.png and its recording rec.sigmf-*."""
    folder = tmp_path_factory.mktemp("recorded")
    portrait.crop((100, 40, 356, 296)).save(folder / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ("encode", folder / "photo.png", "-o", folder / "rec", "--cbr", "1/24")
        assert run(patch, *arguments, "--model", tiny_folder) == 0
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "work"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ("photo.jpg", ".png"),
        ("rec.sigmf-data", ".png"),
        ("rec.sigmf-meta", ".png"),
        ("noend", ".png"),
        ("folder.png", "folder"),
        ("pipe.png", "regular file"),
        ("alias.png", "input"),
        ("file/x.png", "folder"),
    ],
)
def test_decode_refuses_an_output_before_it_touches_anything(
    output: str, word: str, folder: Path, tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copy(folder / "photo.png", folder / "photo.jpg")
    (folder / "noend").write_text("mine")
    (folder / "file").write_text("mine")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "alias.png").symlink_to(folder / "rec.sigmf-data")
    before = contents(folder)
    code = run(monkeypatch, "decode", folder / "rec", "-o", folder / output, "--model", tiny_folder)
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert word in error
    assert contents(folder) == before
    assert (folder / "pipe.png").is_fifo()
    assert (folder / "alias.png").is_symlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ["typo", "-o", "old.png"],
        ["rec", "-o", "old.png", "--model", "nothing"],
        ["rec", "-o", "old.png", "--steps", "0"],
        ["cut", "-o", "old.png"],
    ],
)
def test_decode_keeps_an_old_picture_where_nothing_was_received(
    arguments: list[str], folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "photo.png", folder / "old.png")
    shutil.copy(folder / "rec.sigmf-meta", folder / "cut.sigmf-meta")
    (folder / "cut.sigmf-data").write_bytes((folder / "rec.sigmf-data").read_bytes()[:4000])
    before = contents(folder)
    monkeypatch.chdir(folder)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(tiny_folder)]
    assert run(monkeypatch, "decode", *arguments) == 2
    assert contents(folder) == before


def test_an_outage_removes_the_old_picture_and_only_a_regular_file(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "photo.png", folder / "old.png")
    data = folder / "rec.sigmf-data"
    noise = np.random.default_rng(0).normal(size=data.stat().st_size // 4).astype("<f4")
    data.write_bytes(noise.tobytes())
    arguments = ("decode", folder / "rec", "-o", folder / "old.png", "--model", tiny_folder)
    assert run(monkeypatch, *arguments) == 3
    assert not (folder / "old.png").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make or delete a device")
def test_a_device_is_no_picture(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = folder / "null.png"
    try:
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    except OSError:
        pytest.skip("this container makes no devices")
    arguments = ("decode", folder / "rec", "-o", device, "--model", tiny_folder)
    assert run(monkeypatch, *arguments) == 2
    assert device.is_char_device()


@pytest.mark.parametrize("name", ["reconstruction.png", "overview.png", "report.json"])
def test_transmit_never_overwrites_its_input(
    name: str, folder: Path, tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    sent = folder / "sent"
    sent.mkdir()
    shutil.copy(folder / "photo.png", sent / name)
    before = contents(folder)
    code = run(
        monkeypatch, "transmit", sent / name, "--out", sent, "--model", tiny_folder,
    )  # fmt: skip
    assert code == 2
    assert "input" in capsys.readouterr().err
    assert contents(folder) == before


def test_transmit_never_overwrites_its_mask(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = folder / "sent"
    sent.mkdir()
    shutil.copy(folder / "photo.png", sent / "overview.png")
    before = contents(folder)
    code = run(
        monkeypatch, "transmit", folder / "photo.png", "--out", sent, "--model", tiny_folder,
        "--roi", sent / "overview.png",
    )  # fmt: skip
    assert code == 2
    assert contents(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [["--cbr", "zero"], ["--cbr", "1/100000"], ["--model", "nothing"], ["--roi", "0,0,9999,9"]],
)
def test_transmit_keeps_old_results_where_it_is_asked_wrongly(
    arguments: list[str], folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = folder / "sent"
    sent.mkdir()
    for name in ("reconstruction.png", "overview.png", "report.json"):
        shutil.copy(folder / "photo.png", sent / name)
    before = contents(folder)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(tiny_folder)]
    assert run(monkeypatch, "transmit", folder / "photo.png", "--out", sent, *arguments) == 2
    assert contents(folder) == before


def test_recordings_never_replace_an_input(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "photo.png", folder / "a.sigmf-data")
    before = contents(folder)
    for arguments in (
        ["encode", folder / "a.sigmf-data", "-o", folder / "a", "--model", tiny_folder],
        ["channel", folder / "rec", "-o", folder / "rec.sigmf-meta", "--snr", 5],
    ):
        assert run(monkeypatch, *arguments) == 2
        assert contents(folder) == before


@pytest.mark.parametrize(
    ("others", "word"),
    [
        (["-o", "out.png", "--all"], "input"),
        (["-o", "out-1.png"], "input"),
        (["-o", "plot.png", "--plot", "plot.png"], "both picture and plot"),
        (["-o", "plot.png", "--plot", "plot-1.png", "--all"], "both picture and plot"),
    ],
)
def test_decode_never_paints_over_what_it_reads_or_plots(
    others: list[str], word: str, folder: Path, tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A bare file may have any name, that of a picture among them."""
    monkeypatch.chdir(folder)
    (folder / "rec.sigmf-data").rename(folder / "out-1.png")
    before = contents(folder)
    bare = ("--datatype", "cf32_le", "--rate", "1", "--model", tiny_folder)
    assert run(monkeypatch, "decode", "out-1.png", *others, *bare) == 2
    assert word in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("theirs", ["mine", "[]", '{"image": 1}', "[" * 100_000, "\0"])
def test_a_report_of_somebody_else_stays(
    theirs: str, many: bool, folder: Path, tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # Of several pictures each has a folder of its own name: this one.
    photo = (folder / "photo.png").rename(folder / f"{folder.name}.png")
    (folder / "report.json").write_text(theirs)
    before = contents(folder)
    pictures, out = ([photo, photo], folder.parent) if many else ([photo], folder)
    assert run(monkeypatch, "transmit", *pictures, "--model", tiny_folder, "--out", out) == 2
    assert "report.json is no report of this command" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.slow
def test_a_report_of_ours_is_written_anew(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("transmit", folder / "photo.png", "--model", tiny_folder, "--out", folder / "sent")
    reports: list[bytes] = []
    for seed in ("1", "1", "2"):
        assert run(monkeypatch, *command, "--seed", seed) == 0
        reports.append((folder / "sent" / "report.json").read_bytes())
    assert b'"seed": 2' in reports[-1]
