import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lrisc.errors import InputError
from lrisc.evaluation.results import ResultsFolder
from lrisc.files import UnwritableError, cache_folder, replace_atomically, write_atomically
from lrisc.training.state import locked


def test_files_are_whole_or_untouched(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, b"first")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(UnwritableError, match="No space left on device; the previous one"):
        replace_atomically(path, half)
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut can leave the name with nothing in it."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"{os.fstat(descriptor).st_size} bytes on disk")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        done.append("named")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_atomically(tmp_path / "a.txt", b"12345")
    assert done == ["5 bytes on disk", "named"]


def test_unwritable_folders_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="cannot write") as caught:
        write_atomically(tmp_path / "file" / "a.txt", b"x")
    assert "\n" not in str(caught.value)


def test_the_cache_is_in_the_home_folder_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "lrisc"


def test_what_lies_in_wait_under_a_temporary_name_is_not_written_to(tmp_path: Path) -> None:
    """In a folder that others may write to, a link to a file of ours."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to(victim)
    write_atomically(tmp_path / "a.txt", b"new")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def evaluate(folder: Path) -> None:
    ResultsFolder(folder).prepare({}, {}, {})


def train(folder: Path) -> None:
    with locked(folder):
        pass


@pytest.mark.parametrize("lock", [evaluate, train])
def test_a_lock_of_somebody_else_stays_as_it_is(
    lock: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / ".lock").write_text("mine")
    lock(tmp_path)
    assert (tmp_path / ".lock").read_text() == "mine"


@pytest.mark.parametrize("lock", [evaluate, train])
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_a_lock_is_a_regular_file(lock: Callable[[Path], None], what: str, tmp_path: Path) -> None:
    """Through a link a file elsewhere would be opened; opening a pipe waits for its other end."""
    thesis, path = tmp_path / "thesis.txt", tmp_path / "results" / ".lock"
    path.parent.mkdir()
    if what == "link":
        thesis.write_text("mine")
    if "link" in what:
        path.symlink_to(thesis)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(InputError, match=r"\.lock is no regular file") as told:
        lock(path.parent)
    assert "\n" not in str(told.value)
    assert thesis.exists() == (what == "link")
    assert what != "link" or thesis.read_text() == "mine"
