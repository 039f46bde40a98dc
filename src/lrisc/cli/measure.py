"""``lrisc models``."""

from __future__ import annotations

from lrisc.cli.output import terminal


def models() -> None:
    """List the checkpoints that come inside the package."""
    from rich.table import Table

    from lrisc.checkpoint import embedded_names, load_checkpoint

    table = Table("name", "parameters", "sha256", "about", box=None)
    for name in embedded_names():
        loaded = load_checkpoint(name)
        count = sum(p.numel() for p in loaded.model.parameters())
        about = str(loaded.info.get("description", ""))
        table.add_row(name, f"{count / 1e6:.1f} M", loaded.sha256[:12], about)
    terminal(stderr=False).print(table)
