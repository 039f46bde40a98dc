"""What every model card ends with: the hash, the data and their terms, and what not to do."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from lrisc.files import write_atomically
from lrisc.stored import CONFIG_FILE, HASH_KEY, WEIGHTS_FILE

CARD_FILE = "README.md"
HEADING = "## The file, its data, and what it is not for"

_STATEMENT = Path(__file__).with_suffix(".md")


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
