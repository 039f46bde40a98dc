"""The paint editor takes a few layers and decodes nothing."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrisc.app.workspace import Workspace

gr = pytest.importorskip("gradio", reason="gradio is not installed")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def editor(workspace: Workspace) -> Any:
    from lrisc.app.editor import bound

    made = gr.ImageEditor()
    bound(made, workspace)
    return made


def blob(index: Any, name: str = "a", kind: str = "layer") -> Any:
    return SimpleNamespace(data={"type": kind, "index": index, "id": name}, files=[("f", b"x")])


def test_of_many_layers_the_first_are_taken_and_none_is_opened(editor: Any, tmp_path: Path) -> None:
    layers = [{"path": str(tmp_path / f"{n}.png")} for n in range(2000)]
    value = {"background": {"path": "/missing"}, "layers": layers, "composite": None}
    payload = editor.data_model(**value)
    assert editor.preprocess(payload) == {"layers": [tmp_path / f"{n}.png" for n in range(4)]}
    assert editor.preprocess(None) == {"layers": []}
    assert editor.preprocess(editor.data_model(layers=[])) == {"layers": []}


def test_pieces_are_kept_on_disk_and_few(editor: Any, workspace: Workspace) -> None:
    assert editor.accept_blobs._is_server_fn
    # Gradio's makes a list as long as the number that a stranger sends.
    for index in (10**12, -1, "x", None, 4):
        editor.accept_blobs(blob(index, "far"))
    assert editor.preprocess(editor.data_model(id="far")) == {"layers": []}
    editor.accept_blobs(blob(0, "b", "background"))
    for number in range(100):
        editor.accept_blobs(blob("0", str(number)))
    found = [editor.preprocess(editor.data_model(id=str(n)))["layers"] for n in range(100)]
    assert sum(map(len, found)) == 32
    assert found[99][0].read_bytes() == b"x"
    assert editor.preprocess(editor.data_model(id="99")) == {"layers": []}
