"""Slots on rented machines and the pieces that carry a run from one to the next."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.training.runs import TINY, Overrides, Start, Train
from tools.remote.pieces import MANIFEST, join, split
from tools.remote.pieces import main as pieces_main
from tools.remote.slices import train_slice

from lrisc.errors import InputError
from lrisc.files import UnwritableError
from lrisc.training.state import read_progress

pytestmark = pytest.mark.slow


def test_slices_go_on_from_pieces(short: Overrides, pictures: Path, tmp_path: Path) -> None:
    config = TINY / "stage1.yaml"
    options = [o for o in short(steps=100_000) if not o.startswith(("data", "output", "parent"))]
    steps: list[int] = []
    start = None
    for name in ("a", "b"):
        outcome = train_slice(
            config,
            [str(pictures)],
            0.05,
            tmp_path / f"{name}-pieces",
            work=tmp_path / f"{name}-work",
            start=start,
            limit=3_000_000,
            overrides=options,
        )
        assert outcome == "out of time"
        start = tmp_path / f"{name}-pieces"
        sizes = [p.stat().st_size for p in start.glob("piece-*")]
        assert len(sizes) > 2
        assert max(sizes) <= 3_000_000
        join(start, tmp_path / f"{name}-joined")
        joined = tmp_path / f"{name}-joined" / "state.safetensors"
        assert joined.read_bytes() == (tmp_path / f"{name}-work/state.safetensors").read_bytes()
        steps.append(read_progress(joined).step)
    assert 0 < steps[0] < steps[1]


def test_one_of_several_processes_unpacks_and_packs(
    short: Overrides,
    start_training: Start,
    pictures: Path,
    tmp_path: Path,
    train: Train,
) -> None:
    train(steps=2)
    split(tmp_path / "run", tmp_path / "pieces", 3_000_000)
    options = [o for o in short(steps=4) if not o.startswith(("data", "output", "parent"))]
    options += ["--resume-from", str(tmp_path / "pieces"), "--data", str(pictures)]
    options += ["--minutes", "5", "--pieces", str(tmp_path / "out")]
    options += ["--work", str(tmp_path / "work")]
    process = start_training(TINY / "stage1.yaml", options, 2, "tools.remote.slices")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors.count("packed") == 1
    assert "resuming stage1 at step 2" in errors
    join(tmp_path / "out", tmp_path / "joined")
    assert read_progress(tmp_path / "joined" / "state.safetensors").step == 4
    assert (tmp_path / "joined" / "final" / "config.json").is_file()


def test_damaged_pieces(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_bytes(bytes(range(256)) * 64)
    *pieces, manifest = split(tmp_path / "run", tmp_path / "pieces", 4096)
    assert manifest.name == MANIFEST
    pieces[1].write_bytes(pieces[1].read_bytes()[:-1])
    with pytest.raises(InputError, match=r"piece-0001.bin is damaged"):
        join(tmp_path / "pieces", tmp_path / "out")
    pieces[1].unlink()
    with pytest.raises(InputError, match=r"piece-0001.bin is missing"):
        join(tmp_path / "pieces", tmp_path / "out")
    manifest.unlink()
    with pytest.raises(InputError, match="no readable"):
        join(tmp_path / "pieces", tmp_path / "out")


def test_pieces_that_cannot_be_written_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_bytes(bytes(8192))
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=r"write the pieces into .*: Not a directory"):
        split(tmp_path / "run", tmp_path / "file" / "pieces", 4096)
    with pytest.raises(InputError, match="choose another folder for the pieces"):
        split(tmp_path / "run", tmp_path / "run" / "pieces", 4096)
    split(tmp_path / "run", tmp_path / "pieces", 4096)
    with pytest.raises(UnwritableError, match=r"cannot write .*: File exists"):
        join(tmp_path / "pieces", tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        with pytest.raises(UnwritableError, match="temporary file: No such file"):
            join(tmp_path / "pieces", tmp_path / "out")

    # Whole pieces, but of something else than a folder.
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "piece-0000.bin").write_bytes(b"no tar")
    digest = hashlib.sha256(b"no tar").hexdigest()
    manifest = {"pieces": [{"name": "piece-0000.bin", "sha256": digest}]}
    (tmp_path / "odd" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="does not hold a packed folder"):
        join(tmp_path / "odd", tmp_path / "out")

    arguments = ["pieces", "split", str(tmp_path / "run"), str(tmp_path / "p"), "--limit-mb", "inf"]
    monkeypatch.setattr("sys.argv", arguments)
    assert pieces_main() == 2
    assert capsys.readouterr().err == "error: the size limit of a piece must be a number of MB\n"


def test_slot_is_not_trained_where_its_pieces_cannot_go(
    short: Overrides, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    options = [o for o in short() if not o.startswith(("data", "output", "parent"))]
    for target, kind in (("file/out", UnwritableError), ("work/out", InputError)):
        with pytest.raises(kind, match="pieces"):
            train_slice(
                TINY / "stage1.yaml",
                [str(pictures)],
                1,
                tmp_path / target,
                work=tmp_path / "work",
                overrides=options,
            )
    assert not (tmp_path / "work").exists()
