"""Notebooks as they lie in the repository: no results, nothing of a machine, no dead link."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def test_all_are_in_the_navigation() -> None:
    listed = re.findall(r"notebooks/([a-z-]+\.ipynb)", (DOCS.parent / "mkdocs.yml").read_text())
    assert sorted(listed) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_without_results_and_with_links_that_lead_somewhere(path: Path) -> None:
    book: dict[str, Any] = json.loads(path.read_text())
    for cell in book["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        compiled = [line for line in cell["source"] if not line.startswith("!")]
        if cell["cell_type"] == "code":
            compile("".join(compiled), path.name, "exec")
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())
    # Pages of the site: links of notebooks are not rewritten when it is built.
    for page in re.findall(r"\]\((\.\.[^)#]+)\.html", path.read_text()):
        assert (path.parent / f"{page}.md").is_file(), page
