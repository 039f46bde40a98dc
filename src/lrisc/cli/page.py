"""``lrisc app``."""

from __future__ import annotations

from typing import Annotated

import typer

from lrisc.cli.options import ModelOption
from lrisc.cli.output import terminal


def web_page(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 7860,
    model: ModelOption = "compact",
) -> None:
    """Open a page on this machine to try it all in a browser."""
    from lrisc.app.server import start

    console = terminal()
    with console.status("loading"):
        page = start(host, port, model)
    console.print(f"{page.url}  (Ctrl-C stops)")
    page.wait()
