"""What every model card ends with: the file's hash, the data and their terms, and what not to do."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from lrisc.files import write_atomically
from lrisc.tensors import CONFIG_FILE, HASH_KEY, WEIGHTS_FILE

CARD_FILE = "README.md"
HEADING = "## The file, its data, and what it is not for"

_STATEMENT = """\
**Data.** The networks that come with LRISC learned from photographs of public research sets. None of
them is part of the repository or of this folder. Their terms, as their makers state them, to the best
of our knowledge:

| set | terms |
|---|---|
| ImageNet (ILSVRC) | pictures of the web, rights with their owners; access for non-commercial research and education |
| COCO | annotations CC BY 4.0; pictures from Flickr under the licence each author chose |
| SUN397, MIT indoor scenes | pictures of the web, rights with their owners; for research |
| PASCAL VOC | pictures from Flickr, under its terms of use |
| Open Images | annotations CC BY 4.0; pictures listed as CC BY 2.0 |
| BSDS500 | for non-commercial research and education |
| OSIE, ECSSD | for research |
| Oxford-IIIT Pet | CC BY-SA 4.0, rights of the pictures with their owners |
| wallpapers | no licence is known |
| maps of U²-Net-p (detector only) | code and weights Apache-2.0 |

The weights are ours to give, under Apache-2.0. Whether the terms of pictures reach the weights that
learned from them is not settled everywhere; several sets are for non-commercial research only. Whoever
needs certainty trains on pictures of their own (`docs/training.md`). A card above may name other data.

**Bias.** Such photographs come mostly from Flickr and the web: from some countries, by daylight, of
people, animals, streets and rooms that were thought worth a picture. Night, medicine, satellites, documents,
scripts other than Latin and many faces are rare or missing. What is rare there is reconstructed worse;
by how much was not measured.

**Not for.** A reconstruction is **not evidence**. The decoder paints what is probable where the symbols do
not say: texture, letters, number plates and faces can be wrong and look right. Do not use it to identify
people, in medicine, in court, for news or for surveillance, nor where a wrong detail does harm.
"""


def write_card(folder: Path, text: str) -> None:
    """Write the README.md of a network: what is said of it, then what every card ends with.

    Args:
        folder: with config.json and model.safetensors.
        text: of the card, without its end.

    Raises:
        UnwritableError: the folder is not writable or full.
    """
    recorded = json.loads((folder / CONFIG_FILE).read_text())[HASH_KEY]
    end = f"{HEADING}\n\n`{WEIGHTS_FILE}`, SHA-256 `{recorded}`.\n\n{_STATEMENT}"
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
