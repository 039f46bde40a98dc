"""The paper's own knobs: steps and noise of the checkpoint, fixed beta, steerings, samples."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import Run

import lrisc
from lrisc.checkpoint import LoadedCheckpoint, save_checkpoint
from lrisc.errors import InputError
from lrisc.evaluation.results import ResultsFolder
from lrisc.link.channels import channel
from lrisc.metrics.region import region_gains, region_notes, region_quality
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.roi.region import Region

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A tiny checkpoint with other numbers in its config."""

    def made(**changed: object) -> Path:
        torch.manual_seed(0)
        folder = tmp_path / "made"
        save_checkpoint(folder, Lrisc(replace(PRESETS["tiny"], **changed)))  # type: ignore[arg-type]
        return folder

    return made


@pytest.fixture
def photo(tmp_path: Path, portrait: Image.Image) -> Path:
    path = tmp_path / "photo.png"
    portrait.crop((100, 40, 228, 168)).save(path)
    return path


@pytest.mark.slow
def test_the_checkpoint_says_how_many_steps(photo: Path, make: Make) -> None:
    folder = make(decode_steps=3, sigma_start=0.5)
    default = lrisc.transmit(photo, cbr=1 / 8, model=folder)
    three = lrisc.transmit(photo, cbr=1 / 8, model=folder, steps=3, sigma_start=0.5)
    one = lrisc.transmit(photo, cbr=1 / 8, model=folder, steps=1)
    assert (default.report.steps, default.report.sigma_start) == (3, 0.5)
    assert default.reconstruction is not None
    assert default.reconstruction == three.reconstruction != one.reconstruction


def test_an_untrained_start_noise_is_told(
    photo: Path, tiny: LoadedCheckpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lrisc"):
        result = lrisc.transmit(photo, cbr=1 / 8, model=tiny, sigma_start=0.8)
    assert "was trained to decode from noise of 0, not of 0.8" in caplog.text
    assert result.report.sigma_start == 0.8
    with pytest.raises(InputError, match="start noise must lie between 0 and 100, not -1"):
        lrisc.transmit(photo, cbr=1 / 8, model=tiny, sigma_start=-1)


def test_a_fixed_beta_lets_the_rate_follow_the_picture(
    photo: Path, tiny: LoadedCheckpoint, portrait: Image.Image
) -> None:
    transmitter = lrisc.Transmitter(tiny)
    flat = portrait.crop((0, 0, 128, 128)).resize((16, 16)).resize((128, 128))
    frames = {beta: transmitter.encode(photo, snr_db=10, beta=beta) for beta in (0.05, 0.1)}
    other = transmitter.encode(flat, snr_db=10, beta=0.1)
    low, high = frames[0.05].counts.payload, frames[0.1].counts.payload
    assert 1.5 * low < high < 2.5 * low
    assert other.counts.payload != high
    # The receiver needs nothing more, and the header says the beta to within its step.
    received = channel("awgn", 10)(frames[0.1])
    assert lrisc.Receiver(tiny).decode(received).size == (128, 128)
    with pytest.raises(InputError, match="not both"):
        transmitter.encode(photo, snr_db=10, cbr=1 / 48, beta=0.2)
    for beta in (0.0, -1.0, float("nan"), 17.0):
        with pytest.raises(InputError, match="beta must"):
            transmitter.encode(photo, snr_db=10, beta=beta)


@pytest.mark.slow
def test_beta_at_the_command_line(photo: Path, tmp_path: Path, run_tiny: Run) -> None:
    told = run_tiny("transmit", photo, "--beta", "0.1", "--json")
    assert told.code == 0
    report = json.loads(told.out)
    assert report["beta"] == 0.1
    told = run_tiny("encode", photo, "-o", tmp_path / "a.sigmf-meta", "--beta", "0.1")
    assert told.code == 0
    assert f"payload {report['payload_symbols']:,}" in told.err


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["latent", "power", ""])
def test_the_steering_that_was_trained_is_the_default(
    photo: Path, make: Make, caplog: pytest.LogCaptureFixture, trained: str
) -> None:
    folder = make(roi_steering=trained)
    with caplog.at_level(logging.WARNING, "lrisc"):
        result = lrisc.transmit(photo, cbr=1 / 8, model=folder, roi="8,8,48,48")
        assert result.report.region is not None
        told = "was trained without any region" in caplog.text
        assert told == (trained == "")
        assert (caplog.text == "") == (trained != "")
        assert result.report.region.roi_steering == (trained or "power")
        caplog.clear()
        both = Region("8,8,48,48", steering="both")
        asked = lrisc.transmit(photo, cbr=1 / 8, model=folder, roi=both)
        assert asked.report.region is not None
        assert asked.report.region.roi_steering == "both"
        assert caplog.text.count("'both' may gain less") == 1
        caplog.clear()
        lrisc.transmit(photo, cbr=1 / 8, model=folder, roi="none")
        assert caplog.text == ""


@pytest.mark.slow
def test_the_report_says_what_the_region_gained(
    photo: Path, tiny: LoadedCheckpoint, run_tiny: Run
) -> None:
    box = "0,0,128,112"
    result = lrisc.transmit(photo, cbr=1 / 8, model=tiny, roi=Region(box, 0.2))
    region = result.report.region
    assert region is not None
    assert region.psnr_inside_db is not None
    plain = lrisc.transmit(photo, cbr=1 / 8, model=tiny)
    assert plain.reconstruction is not None
    assert result.roi_mask is not None
    mask = torch.from_numpy(result.roi_mask)
    before = region_quality(plain.source, plain.reconstruction, mask)["psnr_inside_db"]
    assert before is not None
    gain = region.psnr_inside_db - before
    assert region.psnr_inside_gain_db == pytest.approx(gain)
    assert "covers 88% of the picture" in region.roi_notes[0]
    shown = run_tiny("transmit", photo, "--cbr", "1/8", "--roi", box, "--roi-strength", "0.2")
    assert shown.code == 0
    assert f"({gain:+.2f} against none)" in shown.out
    assert "note: the region covers 88% of the picture" in shown.out


def test_a_region_that_gains_nothing_is_told() -> None:
    names = ("psnr_inside_db", "psnr_outside_db", "lpips_inside", "lpips_outside")
    plain = dict(zip(names, (30.0, 28.0, 0.1, 0.2), strict=True))
    worse = dict(zip(names, (29.9, 27.0, 0.1, 0.3), strict=True))
    gains = region_gains(worse, plain)
    assert gains["psnr_inside_gain_db"] == pytest.approx(-0.1)
    assert gains["lpips_outside_gain"] == pytest.approx(0.1)
    told = "the region gains nothing inside against none"
    assert region_notes({"roi_area": 0.2, **gains}) == (told,)
    assert region_notes({"roi_area": 0.2, **region_gains(plain, worse)}) == ()
    assert region_notes({"roi_area": 0.2}) == ()
    assert region_gains(worse, {**plain, "psnr_inside_db": None})["psnr_inside_gain_db"] is None


@pytest.mark.slow
def test_betas_in_a_sweep(photo: Path, tmp_path: Path, tiny_folder: Path, run: Run) -> None:
    """Every picture its own rate, their mean on the axis, one line for all betas."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Image.open(photo) as opened:
        opened.save(pictures / "a.png")
        opened.resize((16, 16)).resize((128, 128)).save(pictures / "b.png")
    results = tmp_path / "results"
    scheme = f"lrisc:{tiny_folder}"
    sweep = ("--schemes", scheme, "--snr", "5,10", "--beta", "0.05,0.1", "-j", "1")
    told = run("evaluate", pictures, *sweep, "-o", results)
    assert told.code == 0, told.err
    rows = ResultsFolder(results).rows()
    assert len(rows) == 8
    assert {row.scheme for row in rows} == {f"{scheme}@beta={beta}" for beta in ("0.05", "0.1")}
    assert {row.cbr_target for row in rows} == {1.0}
    cbr = {(row.scheme[-4:], row.image): row.cbr or 0.0 for row in rows if row.snr_db == 10}
    assert cbr["0.05", "a.png"] < cbr["=0.1", "a.png"] != cbr["=0.1", "b.png"]
    assert run("plot", results).code == 0
    drawn = (results / "figures" / "quality-vs-cbr_awgn_snr-10.csv").read_text()
    mean = (cbr["=0.1", "a.png"] + cbr["=0.1", "b.png"]) / 2
    assert f"{mean:.6f}"[:7] in drawn
    for arguments, complaint in (
        (("--schemes", "bpg-ldpc", "--beta", "0.1"), "none of --schemes follows a fixed beta"),
        (("--schemes", scheme, "--beta", "0"), "beta must lie in"),
        (("--schemes", "bpg-ldpc@beta=0.1"), "does not follow a fixed beta"),
        (("--schemes", scheme, "--roi-steering", "up"), "--roi-steering is latent, rate"),
    ):
        told = run("evaluate", pictures, *arguments, "-o", tmp_path / "none")
        assert told.code == 2
        assert complaint in told.err


@pytest.mark.slow
def test_a_sweep_with_the_steering_asked_for(
    photo: Path, tmp_path: Path, make: Make, run: Run
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    photo.rename(pictures / "a.png")
    scheme = f"lrisc-roi:{make(roi_steering='latent')}"
    told: list[str] = []
    for number, steering in enumerate(((), ("--roi-steering", "rate"))):
        results = tmp_path / f"results{number}"
        sweep = ("--schemes", scheme, "--snr", "10", "--cbr", "1/8", "--roi", "8,8,64,64")
        assert run("evaluate", pictures, *sweep, *steering, "-j", "1", "-o", results).code == 0
        told.append(json.loads((results / "sweep.json").read_text())["schemes"][scheme])
    assert "steering latent" in told[0]
    assert "steering rate" in told[1]


@pytest.mark.slow
def test_samples_and_where_they_differ(photo: Path, tmp_path: Path, make: Make, run: Run) -> None:
    model = ("--model", make(sigma_start=0.8, decode_steps=2))
    sent, out = tmp_path / "a.sigmf-meta", tmp_path / "out.png"
    run("encode", photo, "-o", sent, "--cbr", "1/8", *model)
    told = run("decode", sent, "-o", out, "--samples", "4", *model)
    assert told.code == 0
    assert "4 samples differ by" in told.err
    names = ["out.png", *(f"out.{n}.png" for n in (2, 3, 4))]
    pictures = [np.asarray(Image.open(tmp_path / name), np.float32) for name in names]
    assert len({picture.tobytes() for picture in pictures}) == 4
    spread = np.asarray(Image.open(tmp_path / "out.uncertainty.png"), np.float32)
    expected = np.sqrt(np.var(pictures, axis=0, ddof=1).mean(2))
    assert np.abs(spread / 8 - expected.clip(max=255 / 8)).mean() < 0.6  # both are rounded
    assert spread.mean() > 0
    # The first is what decoding gives.
    alone = tmp_path / "alone.png"
    run("decode", sent, "-o", alone, *model)
    assert alone.read_bytes() == out.read_bytes()


@pytest.mark.slow
def test_no_samples_without_noise(
    photo: Path, tmp_path: Path, tiny: LoadedCheckpoint, run_tiny: Run
) -> None:
    sent, out = tmp_path / "a.sigmf-meta", tmp_path / "out.png"
    run_tiny("encode", photo, "-o", sent, "--cbr", "1/8")
    out.write_bytes(b"precious")
    told = run_tiny("decode", sent, "-o", out, "--samples", "4")
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert "decodes from a zero picture (sigma_start 0)" in told.err
    assert out.read_bytes() == b"precious"
    assert run_tiny("decode", sent, "-o", out, "--samples", "0").code == 2
    frame = lrisc.Transmitter(tiny).encode(photo, snr_db=10, cbr=1 / 8)
    with pytest.raises(InputError, match="samples: 2 to 100"):
        lrisc.Receiver(tiny).sample(channel("awgn", 10)(frame), 1, sigma_start=0.8)
