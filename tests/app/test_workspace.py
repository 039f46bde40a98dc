import os
import time
from pathlib import Path

from lrisc.app.workspace import Workspace


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
