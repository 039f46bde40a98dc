"""Hook of mkdocs: every page of the site says which version it describes, and where its source is.

The source's public address is one setting: ``Repository`` under ``[project.urls]`` in
pyproject.toml, which package indexes show, too. Without it the site has no such link.
"""

import re
import tomllib
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_config(config: Any) -> Any:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "src/lrisc/_version.py").read_text())
    assert found is not None
    name = f"LRISC {found[1]}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project["urls"].get("Repository")
    # Not the theme's own link, whose script asks the repository's host for its stars.
    config.copyright = f'{name}, <a href="{escape(address)}">source</a>' if address else name
    return config
