"""Hooks of mkdocs: the version and the source at the foot of every page, and where lines break.

The source's public address is one setting: ``Repository`` under ``[project.urls]`` in
pyproject.toml, which package indexes show, too. Without it the site has no such link.
"""

import re
import tomllib
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# A number, or some with signs between them (24.82 / 0.1988, 28.0 ± 0.3, -12 %), or one word.
_CELL = re.compile(
    r"<td([^>]*)>((?:<strong>)?[-+−±*(]?\d[\d.,/±+−–%*() -]*"
    r"(?: (?:dB|s|ms|MB|GB|kB))?(?:</strong>)?|[^<>\s]{1,24})</td>"
)
# Docstrings name things as Sphinx does; mkdocs shows the kind as text.
_ROLE = re.compile(r":(?:class|data|func|meth|mod|attr|exc|obj):(?=<code>)")
_CODE = re.compile(r"<code>([^<>\s]{1,24})</code>")


def on_config(config: Any) -> Any:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "src/lrisc/_version.py").read_text())
    assert found is not None
    name = f"LRISC {found[1]}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project["urls"].get("Repository")
    # Not the theme's own link, whose script asks the repository's host for its stars.
    config.copyright = f'{name}, <a href="{escape(address)}">source</a>' if address else name
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Keep numbers, names and options on one line; a table that is too wide scrolls."""
    html = _CELL.sub(r'<td\1><span class="unbroken">\2</span></td>', html)
    return _CODE.sub(r'<code class="unbroken">\1</code>', _ROLE.sub("", html))
