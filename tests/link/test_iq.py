"""Recordings on disk and channel estimation from them."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.link.waveform.signals import frame_symbols

from lrisc.errors import InputError, OutageError
from lrisc.files import UnwritableError
from lrisc.link.channels import channel
from lrisc.link.frame import parse_body, parse_header
from lrisc.link.iq import MAX_SYMBOLS, estimate_channel, write_recording
from lrisc.link.recording import open_recording


def read(path: Path) -> np.ndarray:
    return open_recording(path).all_samples(MAX_SYMBOLS)


def make_frame(snr_db: float, payload: int = 22000, side_bits: int = 3000) -> torch.Tensor:
    return torch.from_numpy(frame_symbols(snr_db, payload, side_bits))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "a.b.sigmf-meta", make_frame(10, 500, 100))


def test_round_trip_by_any_name(recording: Path, tmp_path: Path) -> None:
    sent = make_frame(10, 500, 100)
    for name in ("a.b", "a.b.sigmf-meta", "a.b.sigmf-data"):
        assert np.array_equal(read(tmp_path / name), sent.numpy())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.b.sigmf-data", "a.b.sigmf-meta"]
    assert (tmp_path / "a.b.sigmf-data").stat().st_size == 8 * len(sent)


def test_metadata_tell_nothing(tmp_path: Path) -> None:
    # Two different frames, one text: so it carries nothing about the frame.
    first = write_recording(tmp_path / "x", make_frame(10, 500, 100))
    second = write_recording(tmp_path / "y", make_frame(0, 300, 50))
    assert first.read_text() == second.read_text()


def test_bad_recordings(recording: Path) -> None:
    data = recording.with_name("a.b.sigmf-data")
    good = data.read_bytes()
    data.write_bytes(good[:-3])
    with pytest.raises(InputError, match="cut short"):
        read(recording)
    data.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read(recording)
    data.unlink()
    with pytest.raises(InputError, match="no file"):
        read(recording)
    data.write_bytes(good)

    recording.unlink()
    with pytest.raises(InputError, match="no file"):
        read(recording)
    with pytest.raises(InputError):
        write_recording(recording, torch.zeros(0, dtype=torch.complex64))
    with pytest.raises(UnwritableError, match="cannot"):
        write_recording(data / "below-a-file", torch.ones(3, dtype=torch.complex64))


def test_stale_checksum_is_only_a_warning(
    recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = json.loads(recording.read_text())
    metadata["global"]["core:sha512"] = "0" * 128
    recording.write_text(json.dumps(metadata))
    with caplog.at_level(logging.WARNING):
        read(recording)
    assert "checksum" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [-2.0, 0.0, 10.0, 20.0])
def test_estimated_snr(snr_db: float) -> None:
    frame = make_frame(snr_db)
    gain = 0.3 * np.exp(2j)
    errors: list[float] = []
    for seed in range(6):
        symbols = channel("awgn", snr_db, seed=seed)(frame).symbols * complex(gain)
        estimate = estimate_channel(symbols)
        errors.append(float(estimate.snr_db()[0]) - snr_db)
        # The estimate is for the recording at mean power 1.
        found = complex(estimate.gains[0]) * float(symbols.abs().square().mean().sqrt())
        assert abs(found - gain) / abs(gain) < 0.05
        assert parse_body(estimate, parse_header(estimate))[0].size == 3000
    assert max(map(abs, errors)) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_estimated_snr_of_a_short_frame(snr_db: float) -> None:
    frame = make_frame(snr_db, 100, 50)
    errors = [
        float(estimate_channel(channel("awgn", snr_db, seed=seed)(frame).symbols).snr_db()[0])
        - snr_db
        for seed in range(20)
    ]
    assert math.sqrt(np.mean(np.square(errors))) < 0.5
    assert max(map(abs, errors)) < 1.2


def test_estimate_without_noise_and_with_lost_side_information() -> None:
    frame = make_frame(10)
    assert float(estimate_channel(frame).snr_db()[0]) > 40
    lost = channel("awgn", 4)(frame).symbols
    estimate = estimate_channel(lost)
    assert abs(float(estimate.snr_db()[0]) - 4) < 1
    with pytest.raises(OutageError):
        parse_body(estimate, parse_header(estimate))


def test_recordings_without_a_frame() -> None:
    frame = make_frame(10, 500, 100)
    with pytest.raises(InputError, match="empty"):
        estimate_channel(frame[:0])
    for n in (1, 40, 341):
        with pytest.raises(InputError, match="cut short"):
            estimate_channel(frame[:n])
    with pytest.raises(InputError, match="cut short"):
        estimate_channel(frame[:-1])
    with pytest.raises(InputError, match="silent"):
        estimate_channel(0 * frame)
    noise = torch.randn(2000, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OutageError):
        estimate_channel(noise)
    with pytest.raises(OutageError):
        estimate_channel(channel("awgn", -12)(frame).symbols)
