"""The page's paint editor within bounds.

Gradio's decodes every layer, background and composite picture that a request names, in the server's
process, and keeps what is sent to it in pieces for ever. Ours hands on a few layers, undecoded.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.base import server

from lrisc.app.workspace import Workspace

MAX_LAYERS = 4
"""The editor itself makes one."""
MAX_KEPT = 32
"""Paintings that were sent in pieces and not asked for yet, of all visitors together."""

_INDICES = {str(index) for index in range(MAX_LAYERS)}


def bound(editor: gr.ImageEditor, workspace: Workspace) -> None:
    """Replace the ways in which an editor takes data from a browser.

    Its value becomes ``{"layers": [path, ...]}``.

    Args:
        editor: changed in place; a subclass of gradio's would write files into this package.
        workspace: where layers go.
    """
    kept: dict[str, dict[int, Path]] = {}
    lock = threading.Lock()

    def accept_blobs(data: Any) -> None:
        # The background and the composite are not used.
        index = str(data.data["index"])
        if data.data["type"] != "layer" or index not in _INDICES or not data.files:
            return
        path = workspace.folder() / "layer.png"
        path.write_bytes(data.files[0][1])
        with lock:
            kept.setdefault(str(data.data["id"]), {})[int(index)] = path
            while len(kept) > MAX_KEPT:
                kept.pop(next(iter(kept)))

    def preprocess(payload: Any) -> dict[str, list[Path]]:
        if payload is None:
            return {"layers": []}
        if payload.id is not None:
            with lock:
                return {"layers": list(kept.pop(payload.id, {}).values())}
        return {"layers": [Path(layer.path) for layer in payload.layers[:MAX_LAYERS]]}

    # As attributes of the object they come before those of its class.
    vars(editor).update(accept_blobs=server(accept_blobs), preprocess=preprocess)
