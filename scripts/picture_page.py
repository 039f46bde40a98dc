"""The page with the sample portrait sent, as a browser of 1280×900 pixels shows it."""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from lrisc.app.server import start

PATIENCE_MS = 180_000


def picture(path: Path) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    page = start(port=0)
    try:
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            view = browser.new_page(viewport={"width": 1280, "height": 900})
            view.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            view.goto(page.url)
            view.locator("#take-sample").click()
            expect(view.locator("#status")).to_contain_text("Ready to send")
            view.locator("#send").click()
            expect(view.locator("#pair img")).to_have_count(2)
            view.mouse.move(0, 0)
            view.wait_for_timeout(2000)  # pictures fade in
            view.screenshot(path=path)
            browser.close()
    finally:
        page.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/app.png"))
    picture(parser.parse_args().output)
