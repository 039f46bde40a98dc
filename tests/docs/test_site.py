"""The site builds without a warning and asks nobody else for anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.helpers import load_script

from lrisc import __version__

pytest.importorskip("mkdocs", reason="mkdocs is not installed")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, without the notebooks' results."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_needs_nothing_from_elsewhere(site: Path) -> None:
    assert f"LRISC {__version__}" in (site / "index.html").read_text()
    resource = r"<(?:script|img|link)[^>]*(?:src|href)=\"?(https?:[^\s\">]+)"
    for page in site.rglob("*.html"):
        # Links to other sites are fine; fonts, scripts, styles and pictures from there are not.
        foreign = re.findall(resource, page.read_text())
        assert foreign == [], page


@pytest.mark.slow
def test_search_works_from_disk(site: Path) -> None:
    """Browsers start no worker there; the page had no search at all."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium")
    address = (site / "manual" / "roi.html").as_uri() + "?q=LPIPS"
    options = ("--headless=new", "--no-sandbox", "--virtual-time-budget=20000", "--dump-dom")
    done = subprocess.run([chromium, *options, address], capture_output=True, text=True)
    assert 'class="md-search-result__item"' in done.stdout, done.stderr


def test_the_address_of_the_source_is_one_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = load_script("scripts/site_hooks.py")
    config = SimpleNamespace()
    assert hook.on_config(config).copyright == f"LRISC {__version__}"
    (tmp_path / "src/lrisc").mkdir(parents=True)
    shutil.copy(ROOT / "src/lrisc/_version.py", tmp_path / "src/lrisc")
    text = (ROOT / "pyproject.toml").read_text()
    urls = '[project.urls]\nRepository = "https://example.org/x?a=1&b=2"\n'
    (tmp_path / "pyproject.toml").write_text(text.replace("[project.urls]\n", urls))
    monkeypatch.setattr(hook, "ROOT", tmp_path)
    expected = f'LRISC {__version__}, <a href="https://example.org/x?a=1&amp;b=2">source</a>'
    assert hook.on_config(config).copyright == expected


def test_numbers_names_and_options_stay_on_one_line() -> None:
    content = load_script("scripts/site_hooks.py").on_page_content
    cells = ("24.82 / 0.1988", "28.0 ± 0.3", "-12 %", "<strong>1.5 dB</strong>", "bpg-capacity")
    for cell in cells:
        assert f'<td><span class="unbroken">{cell}</span></td>' in content(f"<td>{cell}</td>")
    for cell in ("a picture of 3 pixels", "1 of the 24 pictures was lost", "<em>so</em>"):
        assert content(f"<td>{cell}</td>") == f"<td>{cell}</td>"
    aligned = content('<td style="text-align: right;">5</td>')
    assert aligned == '<td style="text-align: right;"><span class="unbroken">5</span></td>'
    assert content("<code>--snr</code>") == '<code class="unbroken">--snr</code>'
    assert content("see :func:<code>a.b</code>") == 'see <code class="unbroken">a.b</code>'
    for code in ("lrisc transmit photo.jpg --snr 10", "x" * 25):
        assert content(f"<code>{code}</code>") == f"<code>{code}</code>"
