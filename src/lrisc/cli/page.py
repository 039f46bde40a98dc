"""``lrisc app``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lrisc.cli.options import DeviceOption, ModelOption, PluginOption
from lrisc.cli.output import terminal


def web_page(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 7860,
    model: ModelOption = "compact",
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            help="user:password that visitors need, or a file with that in its first line (others "
            "on this machine can see a password on the command line).",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", help="A host name the page may be asked for by; may be repeated."
        ),
    ] = None,
) -> None:
    """Open a page on this machine to try it all in a browser."""
    from lrisc.app.gate import is_loopback
    from lrisc.app.server import start

    console = terminal()
    if auth is None and not is_loopback(host):
        console.print(
            f"WARNING: everybody who can reach {host} can use this page, and with it this "
            "machine's time, memory and disk; --auth user:password asks for a password",
            style="bold red",
        )
    with console.status("loading"):
        page = start(host, port, model, auth, allow_host or (), device)
    begun = time.monotonic()
    console.print(f"{page.url}  (Ctrl-C stops)")
    # Whoever finds the page gone must find out why.
    console.print(f"stopped by {page.wait()} after {time.monotonic() - begun:.0f} s")
