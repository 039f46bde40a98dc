"""Recordings on disk: data types, metadata, reading in parts."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrisc.errors import InputError
from lrisc.files import UnwritableError
from lrisc.link.recording import DATATYPES, Annotation, open_recording, write_samples

RATE = 2e6


def samples(n: int = 5000) -> np.ndarray:
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (n, 2)).astype(np.float32)
    return values.view(np.complex64)[:, 0]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_round_trip(datatype: str, tmp_path: Path) -> None:
    x = samples()
    meta = write_samples(
        tmp_path / "a",
        x,
        RATE,
        "test",
        annotations=[Annotation(10, 500, "ofdm")],
        datatype=datatype,
    )
    recording = open_recording(meta)
    assert (recording.sample_rate, recording.source.size) == (RATE, x.size)
    assert recording.annotations == (Annotation(10, 500, "ofdm"),)
    back = recording.source.read(0, x.size)
    scale = float(np.vdot(x, back).real / np.vdot(x, x).real)
    step = {"cf32_le": 1e-6, "ci16_le": 2**-15, "ci8": 2**-7, "cu8": 2**-7}[datatype]
    assert float(np.abs(back - scale * x).max()) < step
    assert float(np.abs(back.view(np.float32)).max()) == pytest.approx(0.9, abs=step)
    # The same bytes as a bare file.
    bare = tmp_path / "bare.iq"
    bare.write_bytes(meta.with_suffix(".sigmf-data").read_bytes())
    raw = open_recording(bare, RATE, datatype)
    assert np.array_equal(raw.source.read(0, x.size), back)


def test_sigmf_accepts_them_and_reads_the_same(tmp_path: Path) -> None:
    import sigmf

    for datatype in DATATYPES:
        meta = write_samples(tmp_path / datatype, samples(), RATE, "test", datatype=datatype)
        opened: Any = sigmf.fromfile(str(meta))
        opened.validate()
        ours = open_recording(meta).source.read(0, 5000)
        assert np.allclose(opened.read_samples(), ours, atol=1e-4)


def test_parts_and_what_lies_outside(tmp_path: Path) -> None:
    meta = write_samples(tmp_path / "a", samples(), RATE, "test", full_scale=False)
    source = open_recording(meta).source
    assert np.array_equal(source.read(1234, 77), samples()[1234:1311])
    edge = source.read(4990, 20)
    assert np.array_equal(edge[:10], samples()[4990:])
    assert not edge[10:].any()
    before = source.read(-5, 10)
    assert not before[:5].any()
    assert np.array_equal(before[5:], samples()[:5])
    assert not source.read(9999, 3).any()


def test_offset(tmp_path: Path) -> None:
    note = [Annotation(100, 50, "ofdm")]
    meta = write_samples(tmp_path / "a", samples(), RATE, "test", annotations=note)
    metadata = json.loads(meta.read_text())
    metadata["global"]["core:offset"] = 1000
    metadata["captures"][0]["core:sample_start"] = 1000
    metadata["annotations"][0]["core:sample_start"] = 1100
    meta.write_text(json.dumps(metadata))
    recording = open_recording(meta)
    assert recording.offset == 1000
    assert recording.annotations[0].start == 100


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"core:datatype": "rf64_be"}, "rf64_be"),
        ({"core:datatype": "cf64_le"}, "cf64_le"),
        ({"core:num_channels": 2}, "2 channels"),
        ({"core:metadata_only": True}, "file of its own"),
        ({"core:trailing_bytes": 4}, "header bytes"),
    ],
)
def test_metadata_that_are_not_read(change: dict[str, object], word: str, tmp_path: Path) -> None:
    meta = write_samples(tmp_path / "a", samples(), RATE, "test")
    metadata = json.loads(meta.read_text())
    metadata["global"] |= change
    meta.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=word) as told:
        open_recording(meta)
    assert "\n" not in str(told.value)


def test_values_that_are_no_samples(tmp_path: Path) -> None:
    meta = write_samples(tmp_path / "a", samples(), RATE, "test")
    data = meta.with_suffix(".sigmf-data")
    for wrong in (np.nan, np.inf, -np.inf, 1e30):
        values = samples()
        values[3000] = wrong
        values.tofile(data)
        source = open_recording(meta).source
        source.read(0, 2999)
        with pytest.raises(InputError, match="finite"):
            source.read(2990, 100)


def test_refusals(tmp_path: Path) -> None:
    bare = tmp_path / "a.iq"
    samples().tofile(bare)
    for arguments, word in (
        ((bare,), "--datatype"),
        ((bare, 2e6), "data type"),
        ((bare, 2e6, "f32"), "cf32_le"),
        ((bare, float("nan"), "ci8"), "sample rate"),
        ((tmp_path, 2e6, "ci8"), "folder"),
        ((tmp_path / "none", 2e6, "ci8"), "no file"),
    ):
        with pytest.raises(InputError, match=word):
            open_recording(*arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no samples"):
        write_samples(tmp_path / "b", samples()[:0], RATE, "test")


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("renamed", [0, 1])
def test_samples_never_lie_under_the_metadata_of_others(
    renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between any two steps of replacing a pair."""
    old = write_samples(tmp_path / "a", samples(), 1e6, "old", datatype="ci16_le")
    before = old.with_suffix(".sigmf-data").read_bytes()
    replace, done = os.replace, 0

    def stop(source: Path, target: Path) -> None:
        nonlocal done
        if done == renamed:
            raise Killed
        done += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Killed):
        write_samples(tmp_path / "a", samples()[:4000], RATE, "new")
    assert (old.with_suffix(".sigmf-data").read_bytes() == before) == (renamed == 0)
    with pytest.raises(InputError, match=r"there is no file .*sigmf-meta"):
        open_recording(tmp_path / "a")


@pytest.mark.parametrize("which", ["a.sigmf-data", "a.sigmf-meta"])
def test_a_pair_that_cannot_be_replaced_is_as_it_was(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are written before anything is removed."""
    write_samples(tmp_path / "a", samples(), 1e6, "old", datatype="ci16_le")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if which in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UnwritableError, match="the previous one is intact"):
        write_samples(tmp_path / "a", samples()[:4000], RATE, "new")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
