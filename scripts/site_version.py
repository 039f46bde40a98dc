"""A hook of mkdocs: every page of the site says which version it describes."""

import re
from pathlib import Path
from typing import Any

VERSION_FILE = Path(__file__).parents[1] / "src" / "lrisc" / "_version.py"


def on_config(config: Any) -> Any:
    found = re.search(r'__version__ = "(.+)"', VERSION_FILE.read_text())
    assert found is not None
    config.copyright = f"LRISC {found[1]}"
    return config
