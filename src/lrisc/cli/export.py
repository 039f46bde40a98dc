"""``lrisc export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrisc.cli.options import ModelOption, PluginOption
from lrisc.cli.output import terminal


def export(
    onnx: Annotated[Path, typer.Option("--onnx", help="Folder for the files.")],
    model: ModelOption = "compact",
    plugin: PluginOption = None,
) -> None:
    """Write the networks of transmitter and receiver as ONNX, for any size of picture."""
    from lrisc.checkpoint import load_checkpoint
    from lrisc.onnx_networks import export_networks

    console = terminal()
    with console.status("exporting"):
        written = export_networks(load_checkpoint(model), onnx)
    for path in written:
        console.print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")
