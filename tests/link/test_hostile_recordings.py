"""Recordings made to hang or crash a receiver."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from lrisc.errors import InputError
from lrisc.link.iq import MAX_SYMBOLS, write_recording
from lrisc.link.recording import open_recording


def read(path: Path) -> np.ndarray:
    return open_recording(path).all_samples(MAX_SYMBOLS)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "a", torch.ones(40, dtype=torch.complex64))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, '{"global":' * 50_000, "9" * 5000, '{"global": ' + "9" * 5000 + "}",
        "", "{", "{}", "null", "[]", '{"global": [], "captures": [], "annotations": []}', "\ud800",
        '{"global": {"core:datatype": "cf32_le", "core:version": "1.2.0"}, "catches": []}',
        "x" * 2**21,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_metadata_that_nobody_writes_is_one_line(recording: Path, text: str) -> None:
    recording.write_text(text, errors="surrogatepass")
    with pytest.raises(InputError, match=r"is not SigMF|has more than") as told:
        read(recording)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("suffix", [".sigmf-data", ".sigmf-meta"])
def test_both_files_are_regular_and_of_sensible_size(recording: Path, suffix: str) -> None:
    data = recording.with_suffix(suffix)
    data.unlink()
    with data.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(InputError, match="more than"):
        read(recording)
    data.unlink()
    os.mkfifo(data)
    signal.alarm(60)  # whoever opens it waits for ever
    with pytest.raises(InputError, match="no regular file"):
        read(recording)
    signal.alarm(0)
    data.unlink()
    data.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        read(recording)


@pytest.mark.parametrize("rate", ["0", "-1", "1e13", "1e400", "NaN"])
def test_a_sample_rate_is_one(recording: Path, rate: str) -> None:
    text = recording.read_text()
    assert '"core:sample_rate": 1.0' in text
    recording.write_text(text.replace('"core:sample_rate": 1.0', f'"core:sample_rate": {rate}'))
    with pytest.raises(InputError, match=r"sample rate must be|is not SigMF"):
        read(recording)
