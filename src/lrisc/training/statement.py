"""What every model card says: its head, its runs, and at the end hash, data and what not to do."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from lrisc.files import write_atomically
from lrisc.stored import CONFIG_FILE, HASH_KEY, WEIGHTS_FILE

CARD_FILE = "README.md"
HEADING = "## The file, its data, and what it is not for"

_STATEMENT = Path(__file__).with_suffix(".md")


def card_head(title: str) -> list[str]:
    """Lines of a card's beginning: what the Hub reads, and the title."""
    return [
        "---",
        "library_name: lrisc",
        "license: apache-2.0",
        "tags: [semantic-communication, image-transmission, joint-source-channel-coding]",
        "---",
        "",
        f"# {title}",
        "",
    ]


def runs_table(records: list[dict[str, Any]]) -> list[str]:
    """Lines of a table of what was trained on what, for how long, by what."""
    lines = [
        "| run | data | squares | steps | crops | hours | hardware | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        squares = f"{r['pictures']:,} ({r['pictures_skipped']} skipped)"
        lines.append(
            f"| {r['stage']} | {r['data']} | {squares} | {r['steps']:,} | {r['samples']:,} "
            f"| {r['hours']:.2f} | {'; '.join(r['hardware'])} | {r['commit']} |"
        )
    return lines


def write_card(folder: Path, text: str) -> None:
    """Write the README.md of a network: what is said of it, then what every card ends with.

    Args:
        folder: with config.json and model.safetensors.
        text: of the card, without its end.

    Raises:
        UnwritableError: the folder is not writable or full.
    """
    recorded = json.loads((folder / CONFIG_FILE).read_text())[HASH_KEY]
    end = f"{HEADING}\n\n`{WEIGHTS_FILE}`, SHA-256 `{recorded}`.\n\n{_STATEMENT.read_text()}"
    body = text.partition(HEADING)[0].rstrip()
    write_atomically(folder / CARD_FILE, f"{body}\n\n{end}".encode())


def finish(folder: Path) -> None:
    """Record the hash of a folder's weights in its config.json, and end its card anew."""
    path = folder / CONFIG_FILE
    info = json.loads(path.read_text())
    info[HASH_KEY] = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    write_atomically(path, (json.dumps(info, indent=2) + "\n").encode())
    write_card(folder, (folder / CARD_FILE).read_text())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        finish(Path(name))
