"""A page with a password, as a browser shows it: nothing without, everything with it."""

import contextlib
from pathlib import Path

import pytest
from tests.e2e.test_page import choose_photo, middle_is_the_region, paint_the_middle, picture, send

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_password_there_is_no_page(
    password: str, guarded_server: str, browser: sync_api.Browser
) -> None:
    known = {"username": "ann", "password": password} if password else None
    context = browser.new_context(http_credentials=known)
    page = context.new_page()
    asked: list[int] = []
    page.on("response", lambda response: asked.append(response.status))
    # What headless Chromium makes of a question that it cannot ask.
    with contextlib.suppress(sync_api.Error):
        page.goto(guarded_server)
    assert asked
    assert set(asked) == {401}
    assert page.get_by_role("button", name="Send", exact=True).count() == 0
    context.close()


def test_with_the_password_all_of_it_works_and_nothing_is_sniffed(
    guarded_server: str, browser: sync_api.Browser, photo: Path
) -> None:
    """Scripts, styles, workers, uploads, the stream of answers and pictures pass the gate."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        http_credentials={"username": "ann", "password": "secret"},
    )
    context.set_default_timeout(180_000)
    page = context.new_page()
    answers: list[sync_api.Response] = []
    complaints: list[str] = []
    page.on("response", lambda response: answers.append(response))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(guarded_server)
    choose_photo(page, photo)
    paint_the_middle(page)
    send(page, "at 10 dB")
    middle_is_the_region(page, photo)
    assert picture(page, "rate-map").size == (256, 256)
    local = [a for a in answers if a.url.startswith(guarded_server) and a.status != 401]
    assert {a.request.resource_type for a in local} >= {"document", "script", "stylesheet", "image"}
    for answer in local:
        assert answer.status < 400, answer.url
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
    refused = [text for text in complaints if "MIME" in text or "Content Security" in text]
    assert refused == []
    context.close()
