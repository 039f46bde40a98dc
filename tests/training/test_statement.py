"""Every card says which file it is of, whose pictures taught it, and what it is not for."""

import hashlib
import json
from pathlib import Path

import pytest

from lrisc.checkpoint import EMBEDDED
from lrisc.training.statement import HEADING, finish, write_card


@pytest.mark.parametrize("folder", sorted(EMBEDDED.iterdir()), ids=lambda folder: folder.name)
def test_every_embedded_network_names_its_file_and_its_data(folder: Path) -> None:
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    # After other weights: python -m lrisc.training.statement FOLDER
    assert json.loads((folder / "config.json").read_text())["weights_sha256"] == found
    card = (folder / "README.md").read_text()
    assert card.count(HEADING) == 1
    for word in (found, "**not evidence**", "**Bias.**", "ImageNet", "non-commercial"):
        assert word in card


def test_a_card_ends_once_however_often_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text('{"format": 1}')
    (tmp_path / "README.md").write_text("# Mine\n\nwords\n")
    for _ in range(2):
        finish(tmp_path)
    write_card(tmp_path, (tmp_path / "README.md").read_text())
    card = (tmp_path / "README.md").read_text()
    assert card.startswith(f"# Mine\n\nwords\n\n{HEADING}\n")
    assert card.count("not evidence") == 1
    assert hashlib.sha256(b"x").hexdigest() in card
