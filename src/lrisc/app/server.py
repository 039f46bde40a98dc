"""Serving the page on this machine.

Gradio is told to stay at home: no analytics, no fonts or scripts from elsewhere, and a content
security policy (in :mod:`lrisc.app.gate`) under which a browser refuses whatever would still leave.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrisc.app.workspace import Workspace
from lrisc.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

    from lrisc.app.service import Service

MAX_UPLOAD_MB = 32
MAX_WAITING = 8
"""Requests that may wait; whoever comes then is told that the server is busy."""


@dataclass
class RunningPage:
    """A page that is being served.

    Attributes:
        url: where.
        workspace: its temporary files.
        close: stops serving and removes them.
    """

    url: str
    workspace: Workspace
    close: Callable[[], None]

    def wait(self) -> str:
        """Serve until Ctrl-C or SIGTERM, then close.

        Returns:
            Which of them it was: the name of the signal.
        """
        stop = threading.Event()
        received: list[int] = []

        def handle(number: int, frame: object) -> None:
            received.append(number)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)
        try:
            # With a timeout, so that signals are handled between two waits.
            while not stop.wait(1.0):
                pass
            return signal.Signals(received[0]).name
        finally:
            self.close()


def start(
    host: str = "127.0.0.1",
    port: int = 7860,
    model: str | Path = "compact",
    password: str | None = None,
    names: Sequence[str] = (),
    device: str = "cpu",
) -> RunningPage:
    """Load the model, warm it up and serve the page from threads of this process.

    Args:
        host: address to listen on.
        port: to listen on; 0 for any that is free.
        model: name, folder or Hugging Face id of a checkpoint.
        password: ``user:password``, or a file with that in its first line; default: none.
        names: host names the page may be asked for by, besides the machine's own and addresses.
        device: where the networks run: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: gradio is not installed, the port is taken, no such checkpoint, no password.
    """
    password = None if password is None else _password(password)
    port = _free_port(host, port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    workspace = Workspace()
    # Gradio and the parsers of uploads put their files where these two say.
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.root)
    tempfile.tempdir = str(workspace.root)
    try:
        service, page, url = _launch(host, port, model, workspace, password, names, device)
    except BaseException:
        _forget(workspace)
        raise

    def close() -> None:
        service.drain()
        page.close(verbose=False)
        _forget(workspace)

    return RunningPage(url, workspace, close)


def _launch(
    host: str,
    port: int,
    model: str | Path,
    workspace: Workspace,
    password: str | None,
    names: Sequence[str],
    device: str,
) -> tuple[Service, gr.Blocks, str]:
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError("the page needs gradio: pip install 'lrisc[app]'") from error
    from starlette.middleware import Middleware

    from lrisc.app.gate import Gate
    from lrisc.app.page import build_page
    from lrisc.app.service import Service

    service = Service(model, workspace, device)
    service.warm_up()
    page = build_page(service, _sample())
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    gate = Middleware(
        Gate,
        workspace=workspace,
        visits=service.visits,
        host=host,
        names=names,
        password=password,
        # Two files and what is written around them.
        max_upload_bytes=(2 * MAX_UPLOAD_MB + 1) * 2**20,
    )
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,
        max_file_size=f"{MAX_UPLOAD_MB}mb",
        enable_monitoring=False,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        state_session_capacity=100,
        theme=_theme(gr),
        css_paths=Path(__file__).with_name("style.css"),
        app_kwargs={"middleware": [gate]},
    )
    return service, page, url


def _theme(gr: Any) -> Any:
    """Gradio's default look with the fonts of the visitor's machine."""
    return gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "Segoe UI", "Helvetica", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(
        # Gradio's greys are too pale to be read by everyone.
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )


def _sample() -> Path:
    """A portrait that comes with matplotlib, in the public domain."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def _free_port(host: str, port: int) -> int:
    """The port, once it is known that it can be listened on."""
    try:
        with socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error}): choose another with --host and --port"
        ) from error


def _password(text: str) -> str:
    """``user:password`` itself, or the first line of the file that it names."""
    if os.path.exists(text):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.readline(1000).strip()
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the password in {text}: {error}") from error
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise InputError("--auth is user:password, or a file with that in its first line")
    return text


def _forget(workspace: Workspace) -> None:
    tempfile.tempdir = None
    workspace.close()
