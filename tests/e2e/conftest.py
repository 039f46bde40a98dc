"""The page as a visitor meets it: a real server, a real (headless) browser, no network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers import served

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("gradio", reason="gradio is not installed")

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in _NAMES if (path := shutil.which(name))), None)
# Cores are often shared with other work; what is tested is behaviour, not speed.
PATIENCE_MS = 180_000
sync_api.expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a served page, and the folder its temporary files go to."""
    folder = tmp_path_factory.mktemp("server")
    with served(folder) as address:
        yield address, folder


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a page that asks for ``ann`` and ``secret``."""
    with served(tmp_path_factory.mktemp("guarded"), "--auth", "ann:secret") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        # As root, as in containers, Chromium starts without its sandbox only. The editor draws
        # with WebGL, here in software.
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture(params=[1280], ids=lambda width: f"{width}px")
def page(
    request: pytest.FixtureRequest, server: tuple[str, Path], browser: sync_api.Browser
) -> Iterator[sync_api.Page]:
    """The page, opened; whatever it asks another machine for fails the test."""
    address, _ = server
    foreign: list[str] = []

    def local_only(route: sync_api.Route) -> None:
        if route.request.url.startswith((address.rstrip("/"), "data:", "blob:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    context = browser.new_context(
        viewport={"width": request.param, "height": 900}, accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    context.route("**/*", local_only)
    opened = context.new_page()
    opened.goto(address)
    opened.get_by_role("button", name="Send", exact=True).wait_for()
    yield opened
    context.close()
    assert foreign == []


@pytest.fixture(scope="session")
def photo(portrait: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The face, 256×256: small, so that an answer takes a second."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    portrait.crop((120, 40, 376, 296)).save(path)
    return path
