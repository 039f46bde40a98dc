"""Folders and lists of pictures, pictures of cameras, and how much is said."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers import Run, rows_of

from lrisc.cli.several import find_jobs
from lrisc.errors import InputError


@pytest.fixture
def album(tmp_path: Path, portrait: Image.Image) -> Path:
    """Three pictures, a broken one, and what is none."""
    folder = tmp_path / "album"
    folder.mkdir()
    portrait.crop((100, 40, 228, 136)).save(folder / "b.png")
    portrait.crop((100, 40, 196, 168)).save(folder / "a.png")
    portrait.crop((60, 40, 188, 168)).save(folder / "a.jpg")
    (folder / "c.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.mark.slow
def test_a_folder_is_sent_and_the_broken_one_told(
    album: Path, tmp_path: Path, run_tiny: Run
) -> None:
    out = tmp_path / "out"
    captured = run_tiny("transmit", album, "--cbr", "1/8", "--out", out)
    assert captured.code == 2
    assert "1 of 4 pictures failed" in captured.err
    assert "c.jpg is not a picture" in captured.err.splitlines()[-1]
    assert sorted(p.name for p in out.iterdir()) == ["a", "a.png", "b", "summary.csv"]
    for name in ("a", "a.png", "b"):
        assert sorted(p.name for p in (out / name).iterdir()) == [
            "overview.png", "reconstruction.png", "report.json",
        ]  # fmt: skip
    rows = rows_of(out / "summary.csv")
    assert [Path(row["image"]).name for row in rows] == ["a.jpg", "a.png", "b.png", "c.jpg"]
    report = json.loads((out / "b" / "report.json").read_text())
    assert float(rows[2]["psnr_db"]) == pytest.approx(report["psnr_db"])
    assert float(rows[2]["seconds"]) > 0
    assert "not a picture" in rows[3]["error"]
    assert rows[0]["error"] == rows[3]["psnr_db"] == ""
    assert "mean of 3" in captured.out
    assert "2/4 a.png" in captured.err


@pytest.mark.slow
def test_several_pictures_as_json_and_an_outage_among_them(album: Path, run_tiny: Run) -> None:
    command = ("-q", "transmit", album / "a.png", album / "b.png", "--cbr", "1/8", "--json")
    captured = run_tiny(*command)
    assert captured.code == 0
    printed = json.loads(captured.out)
    assert [Path(report["image"]).name for report in printed] == ["a.png", "b.png"]
    assert captured.err == ""
    captured = run_tiny(*command, "--snr", "-15")
    assert captured.code == 3
    assert all(report["outage"] for report in json.loads(captured.out))
    assert captured.err.count("\n") == 1


def test_recordings_of_a_folder(album: Path, tmp_path: Path, run_tiny: Run) -> None:
    (album / "c.jpg").unlink()
    out = tmp_path / "iq"
    done = run_tiny("encode", album, "-o", out, "--cbr", "1/8")
    assert done.code == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == [
        "a.png.sigmf-data", "a.png.sigmf-meta", "a.sigmf-data", "a.sigmf-meta",
        "b.sigmf-data", "b.sigmf-meta", "summary.csv",
    ]  # fmt: skip
    assert "mean of 3" in done.out
    assert "PSNR" not in done.out  # nothing has arrived yet
    assert f"written: {out / 'summary.csv'}, and a recording of every picture" in done.out
    assert rows_of(out / "summary.csv")[2]["recording"].endswith("b.sigmf-meta")
    picture = tmp_path / "b.png"
    assert run_tiny("decode", out / "b", "-o", picture).code == 0
    assert Image.open(picture).size == (128, 96)


def test_names_of_places_are_unique(tmp_path: Path) -> None:
    for path in ("x/a.png", "y/a.png", "y/A.png", "y/ü?.png", "x/summary.csv.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    jobs = find_jobs([tmp_path / "x", tmp_path / "y", tmp_path / "x" / "a.png"])
    assert len(jobs) == 5
    assert len({job.name.lower() for job in jobs}) == 5
    assert not {job.name for job in jobs} & {"summary.csv", "..", ""}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        find_jobs([tmp_path / "empty"])


def test_a_photograph_of_a_camera_is_scaled_with_a_sentence(tmp_path: Path, run_tiny: Run) -> None:
    Image.new("RGB", (6000, 4000), (90, 120, 150)).save(tmp_path / "large.jpg")
    command = ("transmit", tmp_path / "large.jpg", "--cbr", "1/8")
    captured = run_tiny(*command)
    assert captured.code == 2
    assert "--max-side 4096 scales it" in captured.err
    captured = run_tiny(*command, "--max-side", "9")
    assert (captured.code, captured.err.count("\n")) == (2, 1)
    captured = run_tiny(*command, "--max-side", "128", "--json")
    assert captured.code == 0
    assert "large.jpg: 6000×4000 pixels, scaled to 128×85" in captured.err
    assert json.loads(captured.out)["width"] == 128


def test_verbose_tells_of_this_package_alone(
    album: Path, caplog: pytest.LogCaptureFixture, run_tiny: Run
) -> None:
    package = logging.getLogger("lrisc")
    level = package.level
    try:
        assert run_tiny("-v", "transmit", album / "b.png", "--cbr", "1/8").code == 0
    finally:
        package.setLevel(level)
    assert {record.name.split(".")[0] for record in caplog.records} == {"lrisc"}
    for part in ("analysis", "diffusion_decoder", "metrics"):
        assert f"{part}: " in caplog.text


@pytest.mark.slow
def test_threads_are_set_before_torch_counts_them(album: Path) -> None:
    code = (
        "import sys; from lrisc import cli; sys.argv = ['lrisc', '--threads', '1', 'models'];"
        "cli.main(); import torch; sys.exit(torch.get_num_threads() != 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("input_there", [True, False])
def test_no_output_of_a_turn_is_the_input_of_another(
    tmp_path: Path, portrait: Image.Image, input_there: bool, run_tiny: Run
) -> None:
    """A picture that an earlier run painted is sent again, together with what it was painted from;
    or is not there yet, and would be sent as what the first turn has just painted."""
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    first, second = tmp_path / "a.png", out / "a" / "reconstruction.png"
    portrait.crop((100, 40, 228, 136)).save(first)
    if input_there:
        portrait.crop((60, 40, 188, 168)).save(second)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    told = run_tiny("transmit", first, second, "--cbr", "1/8", "--out", out)
    assert told.code == 2
    assert f"{second} is an input of this command" in told.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("linked", [True, False])
def test_no_recording_of_a_turn_is_the_input_of_another(
    tmp_path: Path, portrait: Image.Image, linked: bool, run_tiny: Run
) -> None:
    """Pictures are known by what they hold: the second has a recording's name, or a link has."""
    out = tmp_path / "out"
    out.mkdir()
    first, second = tmp_path / "a.png", out / "a.sigmf-data"
    portrait.crop((100, 40, 228, 136)).save(first)
    portrait.crop((60, 40, 188, 168)).save(second, format="png")
    named = second
    if linked:
        named = tmp_path / "b.png"
        named.hardlink_to(second)
    before = second.read_bytes()
    told = run_tiny("encode", first, named, "--cbr", "1/8", "-o", out)
    assert told.code == 2
    assert f"{second} is an input of this command" in told.err
    assert second.read_bytes() == before
    assert list(out.iterdir()) == [second]


@pytest.mark.parametrize("command", ["transmit", "encode"])
@pytest.mark.parametrize("theirs", ["image,caption\na.png,holiday\n", "", "a" * 200_000, "\0\xff"])
def test_a_summary_that_is_not_ours_stays(
    album: Path, tmp_path: Path, command: str, theirs: str, run_tiny: Run
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_text(theirs)
    told = run_tiny(command, album, "--cbr", "1/8", "--out" if command == "transmit" else "-o", out)
    assert told.code == 2
    assert "summary.csv is no summary of this command" in told.err
    assert (out / "summary.csv").read_text() == theirs
    assert [path.name for path in out.iterdir()] == ["summary.csv"]


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("command", ["transmit", "encode"])
def test_nothing_is_written_into_the_folder_of_the_pictures(
    album: Path,
    tmp_path: Path,
    command: str,
    linked: bool,
    no_networks: None,
    run: Run,
) -> None:
    out = album
    if linked:
        out = tmp_path / "link"
        out.symlink_to(album)
    before = sorted(tmp_path.rglob("*"))
    told = run(command, album, "--out" if command == "transmit" else "-o", out)
    assert told.code == 2
    assert told.err == f"lrisc: {out} holds what this command reads: choose another folder\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("lines", ["image,error\na.png,no picture\n", None])
def test_a_summary_of_ours_is_written_anew(
    album: Path, tmp_path: Path, lines: str | None, run_tiny: Run
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (album / "c.jpg").unlink()
    command = ("encode", album, "--cbr", "1/8", "-o", out)
    if lines is None:
        assert run_tiny(*command).code == 0
        (album / "a.jpg").unlink()
    else:
        (out / "summary.csv").write_text(lines)
    assert run_tiny(*command).code == 0
    assert len(rows_of(out / "summary.csv")) == (2 if lines is None else 3)


def test_names_in_the_summary_are_no_formulas(
    tmp_path: Path, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch, run_tiny: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    portrait.crop((100, 40, 228, 136)).save("=cmd|'A0.png")
    Path("+1.png").write_text("no picture")
    command = ("encode", "=cmd|'A0.png", "+1.png", "-o", "iq", "--cbr", "1/8")
    assert run_tiny(*command).code == 2
    cells = [cell for row in rows_of(Path("iq/summary.csv")) for cell in row.values()]
    assert "'=cmd|'A0.png" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    # It is still known as ours.
    assert run_tiny(*command).code == 2
    assert "'+1.png" in (tmp_path / "iq" / "summary.csv").read_text()


def test_names_need_not_be_text(tmp_path: Path, portrait: Image.Image, run_tiny: Run) -> None:
    strange = tmp_path / os.fsdecode(b"b\xff.png")
    try:
        portrait.crop((100, 40, 228, 136)).save(strange)
    except OSError:
        pytest.skip("this file system takes text only")
    out = tmp_path / "out"
    command = ("transmit", strange, strange.with_name("none.png"), "--out", out, "--cbr", "1/8")
    captured = run_tiny(*command)
    assert captured.code == 2
    assert "there is no picture" in captured.err
    assert "mean of 1" in captured.out
    assert os.fsencode(strange) in (out / "summary.csv").read_bytes()
