"""``lrisc models`` and ``lrisc doctor``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lrisc.cli.output import terminal
from lrisc.errors import InputError

_MARKS = {True: "ok", False: "FAILED", None: "missing"}


def models() -> None:
    """List the networks that come inside the package."""
    from lrisc.embedded import embedded_networks

    console = terminal(stderr=False)
    for found in embedded_networks():
        size = f"{found.parameters / 1e6:.1f} M"
        console.print(f"{found.name:18} {size:>7}  {found.sha256[:12]}  {found.about}")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed, which extra is missing, where networks run, and whether they do."""
    from lrisc.doctor import examine

    found = examine()
    if as_json:
        print(json.dumps({name: _plain(finding) for name, finding in found.items()}, indent=2))
    else:
        console = terminal(stderr=False)
        width = max(map(len, found))
        for name, finding in found.items():
            console.print(f"{name:{width}}  {_MARKS[finding.good]:7}  {finding.told}")
    broken = [name for name, finding in found.items() if finding.good is False]
    if broken:
        raise InputError(f"not in order: {', '.join(broken)}")


def _plain(finding: Any) -> dict[str, Any]:
    return {"good": finding.good, "told": finding.told}
