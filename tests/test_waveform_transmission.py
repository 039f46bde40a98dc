"""Whole transmissions over waveforms: accounting, outages, sweeps."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import Run, picture, rows_of

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError, OutageError
from lrisc.link.channels import CHANNELS, channel
from lrisc.link.multipath import Mobility
from lrisc.link.ofdm_link import OfdmLink, make_link
from lrisc.link.waveform.numerology import PRESETS
from lrisc.transmission import transmit


def test_everything_is_counted(tiny: LoadedCheckpoint) -> None:
    result = transmit(
        picture(128, 192), snr_db=15, cbr=1 / 12, model=tiny, waveform="ofdm", measure=False
    )
    report, ofdm, n = result.report.to_dict(), PRESETS["ofdm"], result.frame.symbols.numel()
    values = 3 * 128 * 192
    assert report["outage"] is False
    assert report["waveform"] == "ofdm"
    assert report["cbr"] == n / values <= 1 / 12
    assert report["cbr_grid"] == pytest.approx(ofdm.elements(n) / values)
    assert report["cbr_on_air"] == pytest.approx(ofdm.samples(n) / values)
    assert report["cbr"] < report["cbr_grid"] < report["cbr_on_air"]
    plain = transmit(
        picture(128, 192), snr_db=15, cbr=1 / 12, model=tiny, measure=False
    ).report.to_dict()
    assert plain["cbr"] == plain["cbr_grid"] == plain["cbr_on_air"]


@pytest.mark.parametrize("clip_db", [None, 6.0, 3.0])
def test_the_clip_does_not_take_from_the_energy(clip_db: float | None) -> None:
    """At 6 dB it took 0.08 dB, at 3 dB 0.62 dB: the SNR was lower than told."""
    ofdm = PRESETS["ofdm"]
    symbols = torch.view_as_complex(torch.randn(6000, 2, generator=torch.Generator()) * 0.5**0.5)
    link = replace(make_link("awgn", 100, waveform="ofdm"), clip_db=clip_db)
    assert isinstance(link, OfdmLink)
    samples = link.over_the_air(symbols / symbols.abs().square().mean().sqrt())
    energy = float(np.square(np.abs(samples)).sum()) / ofdm.samples(symbols.numel())
    assert 10 * math.log10(energy * ofdm.fft_size / ofdm.occupied) == pytest.approx(0, abs=0.005)


def test_no_frame_is_an_outage_without_a_picture(tiny: LoadedCheckpoint) -> None:
    result = transmit(
        picture(64, 64), snr_db=-30, cbr=1 / 6, model=tiny, waveform="ofdm", measure=False
    )
    assert result.reconstruction is None
    assert result.received is None
    assert "no frame" in str(result.report.outage_reason)


@pytest.mark.parametrize("name", ["rician", "tdl-a", "cdl-c"])
def test_channels_with_paths_work_without_a_waveform(name: str, tiny: LoadedCheckpoint) -> None:
    frame = lrisc.Transmitter(tiny).encode(picture(64, 64), snr_db=15, cbr=1 / 6)
    one = channel(name, 15, seed=1)(frame)
    assert one.gains.shape == frame.symbols.shape
    assert float(one.gains.abs().std()) > 0
    again = channel(name, 15, seed=1)(frame)
    assert bool((one.symbols == again.symbols).all())
    assert CHANNELS[name].fades
    moved = channel(name, 15, seed=1, mobility=Mobility(1e-6, 30.0))(frame)
    assert bool((moved.gains == one.gains).all()) == (name == "rician")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(InputError, match="block length"):
        make_link("rayleigh", 10, waveform="ofdm", block_length=8)
    with pytest.raises(InputError, match="ofdm-narrow"):
        make_link("awgn", 10, waveform="lte")


def test_bare_symbols_have_their_length_told(tiny: LoadedCheckpoint) -> None:
    symbols = lrisc.Transmitter(tiny).encode(picture(128, 192), snr_db=15, cbr=1 / 12).symbols
    received = make_link("awgn", 20, waveform="ofdm", seed=2)(symbols)
    error = (received.equalised() - symbols).abs().square().mean()
    assert float(error) < 0.02
    with pytest.raises(OutageError):
        make_link("awgn", -30, waveform="ofdm", seed=2)(symbols)


@pytest.mark.slow
def test_a_sweep_over_a_waveform(
    tmp_path: Path, tiny_folder: Path, portrait: Image.Image, run: Run
) -> None:
    (tmp_path / "data").mkdir()
    portrait.crop((100, 40, 356, 296)).save(tmp_path / "data" / "a.png")
    command = (
        "evaluate", tmp_path / "data", "--schemes", f"lrisc:{tiny_folder},deepjscc,bpg-ldpc",
        "--snr", "18", "--cbr", "1/24", "-o", tmp_path / "results", "--jobs", "1",
        "--waveform", "ofdm", "--channel", "tdl-a", "--delay-spread", "30",
    )  # fmt: skip
    assert run(*command).code == 0
    rows = rows_of(tmp_path / "results" / "results.csv")
    assert len(rows) == 3
    ofdm = PRESETS["ofdm"]
    for row in rows:
        assert row["status"] in ("sent", "outage"), row
        # A scheme's own pilots and headers are counted by cbr, the waveform's by the other two.
        sent = round(float(row["cbr"]) * 3 * 256 * 256)
        assert abs(float(row["cbr_grid"]) * 3 * 256 * 256 - ofdm.elements(sent)) < 0.01
        assert abs(float(row["cbr_on_air"]) * 3 * 256 * 256 - ofdm.samples(sent)) < 0.01
    # Another speed would make other rows: the folder refuses them.
    assert run(*command, "--speed", "8").code == 2
