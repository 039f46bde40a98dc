"""No command costs a user a file: what is wrong is told before anything is touched."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import helpers
from tests.helpers import Run

from lrisc.checkpoint import save_checkpoint
from lrisc.link.recording import open_recording, write_samples
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image, tiny_folder: Path
) -> Path:
    """A folder with photo.png and its recording rec.sigmf-*."""
    folder = tmp_path_factory.mktemp("recorded")
    portrait.crop((100, 40, 356, 296)).save(folder / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ("encode", folder / "photo.png", "-o", folder / "rec", "--cbr", "1/24")
        assert helpers.run(patch, *arguments, "--model", tiny_folder) == 0
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "work"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def refused(run: Run, folder: Path, tiny_folder: Path) -> Callable[..., str]:
    """What is said of a command that is refused before anything is touched."""

    def refused(*arguments: object) -> str:
        before = contents(folder)
        model = () if "--model" in arguments else ("--model", tiny_folder)
        told = run(*arguments, *(() if arguments[0] == "channel" else model))
        assert told.code == 2
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert contents(folder) == before
        return told.err

    return refused


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
    output: str, word: str, folder: Path, refused: Callable[..., str]
) -> None:
    shutil.copy(folder / "photo.png", folder / "photo.jpg")
    (folder / "noend").write_text("mine")
    (folder / "file").write_text("mine")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "alias.png").symlink_to(folder / "rec.sigmf-data")
    assert word in refused("decode", folder / "rec", "-o", folder / output)
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
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    shutil.copy(folder / "photo.png", folder / "old.png")
    shutil.copy(folder / "rec.sigmf-meta", folder / "cut.sigmf-meta")
    (folder / "cut.sigmf-data").write_bytes((folder / "rec.sigmf-data").read_bytes()[:4000])
    monkeypatch.chdir(folder)
    refused("decode", *arguments)


def test_an_outage_removes_the_old_picture_and_only_a_regular_file(
    folder: Path, run_tiny: Run
) -> None:
    shutil.copy(folder / "photo.png", folder / "old.png")
    data = folder / "rec.sigmf-data"
    noise = np.random.default_rng(0).normal(size=data.stat().st_size // 4).astype("<f4")
    data.write_bytes(noise.tobytes())
    assert run_tiny("decode", folder / "rec", "-o", folder / "old.png").code == 3
    assert not (folder / "old.png").exists()


@pytest.fixture
def waves(folder: Path, run_tiny: Run) -> Path:
    """A recording of two OFDM frames, beside old.png, old-1.png, old-2.png and plot.png."""
    sent = ("encode", folder / "photo.png", "-o", folder / "one", "--waveform", "ofdm")
    assert run_tiny(*sent, "--cbr", "1/24").code == 0
    frame = open_recording(folder / "one").all_samples(1 << 20)
    pause = np.zeros(3000, np.complex64)
    write_samples(folder / "two", np.concatenate([frame, pause, frame]), 2e6, "two frames")
    for name in ("old", "old-1", "old-2", "plot"):
        shutil.copy(folder / "photo.png", folder / f"{name}.png")
    return folder / "two"


def left(folder: Path) -> set[str]:
    """Which of the old pictures are there, as they were."""
    old = (folder / "photo.png").read_bytes()
    names = ("old", "old-1", "old-2", "plot")
    return {n for n in names if (f := folder / f"{n}.png").exists() and f.read_bytes() == old}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["outage", "another checkpoint"])
@pytest.mark.parametrize("every", [True, False])
def test_what_an_earlier_run_left_goes_with_a_lost_frame_not_with_a_wrong_model(
    case: str, every: bool, folder: Path, waves: Path, tmp_path: Path, run: Run, tiny_folder: Path
) -> None:
    model = tiny_folder
    if case == "outage":
        samples = open_recording(waves).all_samples(1 << 20)
        samples[1000:2500] = 0  # the header of either frame is lost
        samples[(samples.size + 3000) // 2 + 1000 :][:1500] = 0
        write_samples(waves, samples, 2e6, "two frames")
    else:
        model = tmp_path / "another"
        save_checkpoint(model, Lrisc(PRESETS["tiny"]))
    options = ("--plot", folder / "plot.png", "--model", model, *(["--all"] if every else []))
    told = run("decode", waves, "-o", folder / "old.png", *options)
    assert told.code == (3 if case == "outage" else 2)
    if case == "another checkpoint":
        assert left(folder) == {"old", "old-1", "old-2", "plot"}
    else:
        assert left(folder) == ({"old"} if every else {"old-1", "old-2"})


@pytest.mark.slow
def test_a_frame_that_is_cut_short_leaves_no_old_picture_between_new_ones(
    folder: Path, waves: Path, run_tiny: Run
) -> None:
    samples = open_recording(waves).all_samples(1 << 20)
    write_samples(waves, samples[:-2000], 2e6, "two frames")
    assert run_tiny("decode", waves, "-o", folder / "old.png", "--all").code == 0
    assert left(folder) == {"old", "plot"}
    assert not (folder / "old-2.png").exists()
    # With nothing new, nothing old is in its way.
    write_samples(waves, samples[: samples.size // 2 - 4000], 2e6, "a part of one")
    shutil.copy(folder / "photo.png", folder / "old-1.png")
    assert run_tiny("decode", waves, "-o", folder / "old.png", "--all").code == 2
    assert left(folder) == {"old", "old-1", "plot"}


@pytest.mark.parametrize("every", [True, False])
def test_a_plot_of_no_waveform_is_refused_before_networks_are_loaded(
    every: bool, folder: Path, no_networks: None, refused: Callable[..., str]
) -> None:
    options = ("--plot", folder / "p.png", *(["--all"] if every else []))
    assert "--plot" in refused("decode", folder / "rec", "-o", folder / "d.png", *options)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make or delete a device")
def test_a_device_is_no_picture(folder: Path, run_tiny: Run) -> None:
    device = folder / "null.png"
    try:
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    except OSError:
        pytest.skip("this container makes no devices")
    assert run_tiny("decode", folder / "rec", "-o", device).code == 2
    assert device.is_char_device()


@pytest.mark.parametrize("name", ["reconstruction.png", "overview.png", "report.json"])
@pytest.mark.parametrize("what", ["picture", "mask"])
def test_transmit_never_overwrites_its_inputs(
    name: str, what: str, folder: Path, refused: Callable[..., str]
) -> None:
    sent, photo = folder / "sent", folder / "photo.png"
    sent.mkdir()
    shutil.copy(photo, sent / name)
    inputs = (photo, "--roi", sent / name) if what == "mask" else (sent / name,)
    assert "input" in refused("transmit", *inputs, "--out", sent)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--cbr", "zero"], "fraction"),
        (["--cbr", "1/100000"], "too small"),
        (["--model", "nothing"], "no checkpoint"),
        (["--roi", "0,0,9999,9"], "does not lie"),
    ],
)
def test_transmit_keeps_old_results_where_it_is_asked_wrongly(
    arguments: list[str], word: str, folder: Path, refused: Callable[..., str]
) -> None:
    sent = folder / "sent"
    sent.mkdir()
    for name in ("reconstruction.png", "overview.png"):
        shutil.copy(folder / "photo.png", sent / name)
    (sent / "report.json").write_text('{"height": 1, "width": 1, "cbr": 1, "outage": false}')
    assert word in refused("transmit", folder / "photo.png", "--out", sent, *arguments)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("transmit notes.txt", "notes.txt is not a picture"),
        ("transmit tiny.png", "tiny.png has 8×8 pixels"),
        ("encode notes.txt -o sent", "notes.txt is not a picture"),
        ("encode notes.txt notes.txt -o sent", "notes.txt is not a picture"),
        ("decode notes.txt -o out.png", "notes.txt.sigmf-meta"),
        ("decode notes.sigmf-meta -o out.png", "not SigMF metadata"),
        ("decode quiet -o out.png --samples 2", "no frame"),
        ("decode rec -o out.png --samples 0", "--samples"),
    ],
)
def test_what_is_no_input_is_refused_before_networks_are_loaded(
    command: str,
    word: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_networks: None,
    run: Run,
) -> None:
    monkeypatch.chdir(folder)
    Path("notes.txt").write_text("mine")
    Path("notes.sigmf-meta").write_text("mine")
    Image.new("RGB", (8, 8)).save("tiny.png")
    shutil.copy("rec.sigmf-meta", "quiet.sigmf-meta")
    Path("quiet.sigmf-data").write_bytes(bytes(8 * 4096))
    told = run(*command.split())
    assert told.code in (2, 3)
    assert word in told.err.splitlines()[-1]


def test_recordings_never_replace_an_input(folder: Path, refused: Callable[..., str]) -> None:
    shutil.copy(folder / "photo.png", folder / "a.sigmf-data")
    refused("encode", folder / "a.sigmf-data", "-o", folder / "a")
    refused("channel", folder / "rec", "-o", folder / "rec.sigmf-meta", "--snr", 5)


def test_samples_without_metadata_are_somebody_elses(
    folder: Path, refused: Callable[..., str], run_tiny: Run
) -> None:
    bare = folder / "mine.sigmf-data"
    shutil.copy(folder / "rec.sigmf-data", bare)
    for name in ("mine", "mine.sigmf-meta", "mine.sigmf-data"):
        assert "mine.sigmf-meta" in refused("encode", folder / "photo.png", "-o", folder / name)
        assert "mine" in refused("channel", folder / "rec", "-o", folder / name, "--snr", 5)
    # A whole recording is replaced, as every output is.
    assert run_tiny("encode", folder / "photo.png", "-o", folder / "rec").code == 0


@pytest.mark.parametrize(
    ("others", "word"),
    [
        (["-o", "out.png", "--all"], "input"),
        (["-o", "out-1.png"], "input"),
        (["-o", "plot.png", "--plot", "plot.png"], "two outputs"),
        (["-o", "plot.png", "--plot", "FOLDER/plot.png"], "two outputs"),
        (["-o", "plot.png", "--plot", "linked/plot.png"], "two outputs"),
        (["-o", "plot.png", "--plot", "plot-1.png", "--all"], "two outputs"),
        (["-o", "plot.png", "--plot", "FOLDER/plot-1.png", "--all"], "two outputs"),
    ],
)
def test_decode_never_paints_over_what_it_reads_or_plots(
    others: list[str],
    word: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    """A bare file may have any name, that of a picture among them."""
    monkeypatch.chdir(folder)
    (folder / "rec.sigmf-data").rename(folder / "out-1.png")
    (folder / "linked").symlink_to(folder)
    bare = ("--datatype", "cf32_le", "--rate", "1")
    others = [part.replace("FOLDER", str(folder)) for part in others]
    assert word in refused("decode", "out-1.png", *others, *bare)


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("theirs", ["mine", "[]", '{"image": 1}', "[" * 100_000, "\0"])
def test_a_report_of_somebody_else_stays(
    theirs: str, many: bool, folder: Path, refused: Callable[..., str]
) -> None:
    # Of several pictures each has a folder of its own name: this one.
    photo = (folder / "photo.png").rename(folder / f"{folder.name}.png")
    (folder / "report.json").write_text(theirs)
    pictures, out = ([photo, photo], folder.parent) if many else ([photo], folder)
    told = refused("transmit", *pictures, "--out", out)
    assert "report.json is no report of this command" in told


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("name", ["reconstruction.png", "overview.png"])
def test_a_picture_of_somebody_else_stays(
    name: str, many: bool, folder: Path, refused: Callable[..., str]
) -> None:
    photo = (folder / "photo.png").rename(folder / f"{folder.name}.png")
    shutil.copy(photo, folder / name)
    pictures, out = ([photo, photo], folder.parent) if many else ([photo], folder)
    told = refused("transmit", *pictures, "--out", out, "--snr", "-15")
    assert f"{folder / name} is there, without report.json" in told


@pytest.mark.slow
def test_a_report_of_ours_is_written_anew(folder: Path, run_tiny: Run) -> None:
    command = ("transmit", folder / "photo.png", "--out", folder / "sent")
    reports: list[bytes] = []
    for seed in ("1", "1", "2"):
        assert run_tiny(*command, "--seed", seed).code == 0
        reports.append((folder / "sent" / "report.json").read_bytes())
    assert b'"seed": 2' in reports[-1]
