"""The page's paint editor within bounds.

Gradio's decodes every layer, background and composite picture that a request names, in the server's
process, and keeps what is sent to it in pieces for ever. Ours hands on one layer, undecoded.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.base import server

from lrisc.app.workspace import Workspace

MAX_KEPT = 32
"""Layers that were sent in pieces and not asked for yet, of all visitors together."""


def bound(editor: gr.ImageEditor, workspace: Workspace) -> None:
    """Replace the ways in which an editor takes data from a browser.

    Its value becomes ``{"layers": [path]}``, or without a layer ``{"layers": []}``.

    Args:
        editor: changed in place; a subclass of gradio's would write files into this package.
        workspace: where layers go.
    """
    kept: dict[str, Path] = {}
    lock = threading.Lock()

    @server
    def accept_blobs(data: Any) -> None:
        # The background and the composite are not used; another layer than the first there is not.
        if data.data["type"] != "layer" or str(data.data["index"]) != "0" or not data.files:
            return
        path = workspace.folder() / "layer.png"
        path.write_bytes(data.files[0][1])
        with lock:
            kept[str(data.data["id"])] = path
            while len(kept) > MAX_KEPT:
                kept.pop(next(iter(kept)))

    def preprocess(payload: Any) -> dict[str, list[Path]]:
        if payload is None:
            return {"layers": []}
        if payload.id is not None:
            with lock:
                path = kept.pop(payload.id, None)
            return {"layers": [] if path is None else [path]}
        return {"layers": [Path(layer.path) for layer in payload.layers[:1] if layer is not None]}

    # As attributes of the object they come before those of its class.
    vars(editor).update(accept_blobs=accept_blobs, preprocess=preprocess)
