import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lrisc.app import recordings
from lrisc.app.recordings import read_upload, zip_recording
from lrisc.errors import InputError
from lrisc.link.iq import write_recording
from lrisc.link.recording import Annotation, open_recording
from lrisc.link.waveform.numerology import PRESETS

SYMBOLS = torch.complex(torch.arange(40.0), torch.ones(40))


def test_a_zip_comes_back(tmp_path: Path) -> None:
    archive = zip_recording(tmp_path, "sent", SYMBOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["sent.zip"]
    (tmp_path / "in").mkdir()
    assert np.array_equal(read_upload([archive], tmp_path / "in").source.samples, SYMBOLS)


def test_where_the_frame_is_is_marked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    archive = zip_recording(tmp_path, "x", SYMBOLS, PRESETS["ofdm-long"], guard=5)
    zipfile.ZipFile(archive).extractall(tmp_path / "in")
    opened = open_recording(tmp_path / "in" / "x")
    assert opened.annotations == (Annotation(5, 30, "ofdm-long"),)


def test_a_pair_comes_back_whatever_its_folders(tmp_path: Path) -> None:
    meta = write_recording(tmp_path / "a", SYMBOLS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").mkdir()
    data = (tmp_path / "a.sigmf-data").rename(tmp_path / "elsewhere" / "b.sigmf-data")
    assert np.array_equal(read_upload([data, meta], tmp_path / "in").source.samples, SYMBOLS)


def test_what_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no recording is chosen"):
        read_upload([], tmp_path)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"^the file broken\.zip is not a zip file"):
        read_upload([broken], tmp_path)
    meta = write_recording(tmp_path / "a", SYMBOLS)
    with pytest.raises(InputError, match=r"\.sigmf-data file is missing"):
        read_upload([meta], tmp_path)
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(InputError, match="is missing"):
        read_upload([empty], tmp_path)
    monkeypatch.setattr(recordings, "MAX_UPLOAD_BYTES", 100)
    with pytest.raises(InputError, match="more than"):
        read_upload([zip_recording(tmp_path, "large", SYMBOLS)], tmp_path)


def test_errors_name_no_folder_of_the_server(tmp_path: Path) -> None:
    files = [tmp_path / "a.sigmf-meta", tmp_path / "a.sigmf-data"]
    for file in files:
        file.write_bytes(b"{}")
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError) as told:
        read_upload(files, tmp_path / "in")
    assert str(tmp_path) not in str(told.value)
