"""All commands, and what becomes of their errors."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from lrisc._version import __version__
from lrisc.cli import about, evaluate, export, link, page, train
from lrisc.cli.options import CommandWithChannels
from lrisc.cli.output import set_quiet
from lrisc.errors import LriscError, one_line

# Beyond any machine's cores; many more, and none of them would get the memory for its stack.
_MAX_THREADS = 4096

app = typer.Typer(
    name="lrisc",
    help="Send photographs over noisy channels in very few symbols.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what happens, and how long it takes.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors, and what --json asks for, alone.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=_MAX_THREADS, help="Cores to use; default: all."),
    ] = None,
) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    if verbose:
        # Of this package alone: others log what concerns nobody here.
        logging.getLogger("lrisc").setLevel(logging.DEBUG)
    set_quiet(quiet)
    if threads is not None:
        _use_threads(threads)
    if version:
        print(__version__)
        raise typer.Exit


def _use_threads(count: int) -> None:
    """For torch and the libraries below it, here and in processes that are started."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    # They are read when torch is imported, which only some commands do.
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


# In the order of the help.
app.command(cls=CommandWithChannels)(link.transmit)
app.command()(link.encode)
app.command(cls=CommandWithChannels)(link.channel)
app.command()(link.decode)
app.command()(train.train)
app.command("app")(page.web_page)
app.command(cls=CommandWithChannels)(evaluate.evaluate)
app.command()(evaluate.plot)
app.command()(about.models)
app.command()(about.doctor)
app.command()(export.export)


def main() -> None:
    """Entry point: errors of the user become one line and a documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The name of a file need not be text.
            stream.reconfigure(errors="backslashreplace")
    try:
        # Typer returns the code of what ended a command early: typer.Exit, or Ctrl-C.
        code = app(standalone_mode=False)
        if code:
            sys.exit(code)
    except LriscError as error:
        print(f"lrisc: {one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        print("lrisc: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Typer vendors its own copy of click, whose usage errors are told by what they can do.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            # Without a command there is only the help, already printed.
            if message := one_line(error.format_message()):  # type: ignore[attr-defined]
                print(f"lrisc: {message}", file=sys.stderr)
            sys.exit(2)
        raise
