"""``lrisc train``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from lrisc.cli.options import PluginOption


def train(
    config: Annotated[Path, typer.Argument(help="CONFIG.yaml of a stage or of a schedule.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value …")] = None,
    plugin: PluginOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would cost on this machine; train nothing."),
    ] = False,
) -> None:
    """Train a stage or a whole schedule; run it again and it goes on."""
    from lrisc.training import missing_package

    try:
        from lrisc.training.dry_run import dry_run as costs
        from lrisc.training.schedule import read_schedule, run
    except ModuleNotFoundError as error:
        raise missing_package(error) from error

    if dry_run:
        print("\n".join(costs(read_schedule(config, overrides or []))))
        return

    # Without a terminal there is no progress bar: the log is all there is of a long run.
    logging.getLogger("lrisc").setLevel(logging.INFO)
    if run(config, overrides or []) == "interrupted":
        raise typer.Exit(130)
