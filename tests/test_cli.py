"""The command line as a user meets it: exit codes, one line per error, files written."""

import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import Run


@pytest.fixture
def photo(tmp_path: Path, portrait: Image.Image) -> Path:
    path = tmp_path / "photo.png"
    portrait.crop((100, 40, 356, 296)).save(path)
    return path


@pytest.mark.slow
def test_transmit_writes_pictures_and_report(photo: Path, tmp_path: Path, run_tiny: Run) -> None:
    out = tmp_path / "out"
    options = ("--roi", "20,20,64,64", "--cbr", "1/24", "--snr", "12", "--seed", "5")
    told = run_tiny("transmit", photo, "--out", out, "--json", *options)
    assert told.code == 0
    printed = json.loads(told.out)
    assert printed == json.loads((out / "report.json").read_text())
    assert printed["cbr"] <= 1 / 24
    assert Image.open(out / "reconstruction.png").size == (256, 256)
    overview = np.asarray(Image.open(out / "overview.png").convert("RGB"))
    assert overview.std() > 20
    assert sorted(p.name for p in out.iterdir()) == [
        "overview.png", "reconstruction.png", "report.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_an_outage_leaves_no_picture(photo: Path, tmp_path: Path, run_tiny: Run) -> None:
    out = tmp_path / "out"
    command = ("transmit", photo, "--out", out, "--cbr", "1/24")
    run_tiny(*command)
    told = run_tiny(*command, "--snr", "-12", "--json")
    assert told.code == 3
    assert told.err.count("\n") == 1
    assert "outage" in told.err
    assert json.loads(told.out)["outage"] is True
    assert [p.name for p in out.iterdir()] == ["report.json"]


@pytest.mark.slow
def test_two_programs_with_only_a_recording_between_them(
    photo: Path, tmp_path: Path, run: Run, run_tiny: Run
) -> None:
    picture = tmp_path / "c.png"
    sent, received = tmp_path / "a [x].sigmf-meta", tmp_path / "b.sigmf-meta"
    assert run_tiny("encode", photo, "-o", sent, "--cbr", "1/24").code == 0
    assert run("channel", sent, "-o", received, "--snr", "12", "--seed", "1").code == 0
    assert run_tiny("decode", received, "-o", picture).code == 0
    assert Image.open(picture).size == (256, 256)

    from sigmf.validate import validate

    metadata = json.loads(sent.read_text())
    validate(metadata)
    told = json.dumps(metadata).lower()
    assert not any(word in told for word in ("256", "photo", "snr", "cbr", "seed"))
    assert metadata["global"]["core:datatype"] == "cf32_le"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("transmit missing.png", "no picture"),
        ("transmit PHOTO --snr nan", "SNR"),
        ("transmit PHOTO --snr loud", "--snr"),
        ("transmit PHOTO --cbr 1e306", "cbr"),
        ("transmit PHOTO --channel wire", "unknown channel"),
        ("transmit PHOTO --roi detector:nothing", "unknown detector"),
        ("transmit PHOTO --roi 0,0,64,64 --roi-steering hope", "latent, rate, both, power"),
        ("transmit PHOTO --steps 0", "steps"),
        ("transmit PHOTO --seed -1", "seed"),
        (f"transmit PHOTO --seed {1 << 64}", "seed"),
        ("transmit PHOTO --colour red", "--colour"),
        ("transmit PHOTO --out FILE", ""),
        (f"transmit {'x' * 300}", ""),
        (f"transmit PHOTO --roi {'x' * 300}", ""),
        (f"transmit PHOTO --model {'x' * 300}", ""),
        ("transmit EMPTY", "no picture"),
        ("transmit", "image"),
        ("encode PHOTO -o /", ""),
        ("encode PHOTO -o ''", ""),
        ("decode / -o x.png", ""),
        ("decode .. -o x.png", ""),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    command: str, word: str, photo: Path, tmp_path: Path, run: Run, run_tiny: Run
) -> None:
    names = {"PHOTO": photo, "FILE": tmp_path / "file", "EMPTY": tmp_path / "empty"}
    names["FILE"].write_text("")
    names["EMPTY"].mkdir()
    arguments = [names.get(part, part) for part in shlex.split(command)]
    told = (run if "--model" in arguments else run_tiny)(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert word in told.err


@pytest.mark.process
def test_the_installed_program_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lrisc", "--version"], capture_output=True, text=True, check=True
    )
    from lrisc import __version__

    assert done.stdout.strip() == __version__


@pytest.mark.slow
def test_the_channel_s_snr_is_relative_to_the_recording(
    photo: Path, tmp_path: Path, run: Run, run_tiny: Run
) -> None:
    meta, noisy = tmp_path / "a.sigmf-meta", tmp_path / "b.sigmf-meta"
    run_tiny("encode", photo, "-o", meta, "--cbr", "1/24")
    data = tmp_path / "a.sigmf-data"
    for scale in (1e-9, 30.0):
        samples = np.fromfile(data, "<c8")
        (samples * np.complex64(scale)).tofile(data)
        run("channel", meta, "-o", noisy, "--snr", "14")
        told = run_tiny("decode", noisy, "-o", tmp_path / "c.png")
        assert told.code == 0
        estimated = float(told.err.split("estimated SNR ")[1].split(" dB")[0])
        assert abs(estimated - 14) < 0.7


def test_train_tells_where_the_checkpoint_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    from lrisc.training import schedule as training

    def finish(config: Path, overrides: list[str]) -> str:
        training.logger.info("finished: the checkpoint is in %s", config)
        return "finished"

    monkeypatch.setattr(training, "run", finish)
    package = logging.getLogger("lrisc")
    level = package.level
    try:
        assert run("train", "a.yaml").code == 0
    finally:
        package.setLevel(level)
    assert "finished: the checkpoint is in a.yaml" in caplog.text
