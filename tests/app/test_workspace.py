import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lrisc.app.workspace import FullError, Workspace


def test_old_files_go_and_young_ones_stay() -> None:
    workspace = Workspace(max_age=60)
    old, young = workspace.folder() / "old", workspace.folder() / "young"
    for path in (old, young):
        path.write_text("x")
    past = time.time() - 3600
    for path in (old, old.parent):
        os.utime(path, (past, past))
    assert workspace.clean() == 1
    assert young.exists()
    assert not old.exists()
    workspace.close()
    assert not workspace.root.exists()


def test_it_cleans_by_itself(tmp_path: Path) -> None:
    workspace = Workspace(max_age=0, interval=0.05)
    copied = workspace.copy(Path(__file__))
    deadline = time.monotonic() + 10
    while copied.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not copied.exists()
    assert workspace.root.exists()
    workspace.close()


def test_what_a_killed_server_left_goes_and_a_living_one_s_stays() -> None:
    code = (
        "import os, signal; from lrisc.app.workspace import Workspace\n"
        "w = Workspace(); (w.folder() / 'visitor.png').write_text('x'); print(w.root, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert left.is_dir()
    living, next_one = Workspace(), Workspace()
    assert not left.exists()
    assert living.root.exists()
    living.clean()
    another = Workspace()
    assert living.root.exists()
    for workspace in (living, next_one, another):
        workspace.close()
        assert not workspace.root.exists()


def test_nothing_is_removed_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "elsewhere" / "mine.png"
    kept.parent.mkdir()
    kept.write_text("mine")
    (kept.parent / ".lock").write_text("")
    (tmp_path / "lrisc-app-x").symlink_to(kept.parent)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Workspace().close()
    assert kept.read_text() == "mine"


def test_answers_count_as_uploads_do() -> None:
    """What the page itself writes, such as pictures to download, pushes out the oldest, too."""
    workspace = Workspace(max_bytes=1_000_000)
    try:
        paths: list[Path] = []
        for number in range(9):
            paths.append(workspace.folder() / "answer.png")
            paths[-1].write_bytes(bytes(200_000))
            past = time.time() - 200 + number
            os.utime(paths[-1], (past, past))
        assert [path.exists() for path in paths[-4:]] == [True] * 4
        assert not any(path.exists() for path in paths[:4])
        # Young ones stay, and then there is no room.
        for path in paths:
            if path.exists():
                os.utime(path)
        (paths[-1]).write_bytes(bytes(900_000))
        with pytest.raises(FullError, match="try again in some minutes"):
            workspace.copy(paths[-1])
    finally:
        workspace.close()
