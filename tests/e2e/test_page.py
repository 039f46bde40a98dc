"""What a visitor does: upload, set, send, paint, download, decode, err."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect, Page = sync_api.expect, sync_api.Page


def upload(page: Page, where: str, *files: Path) -> None:
    page.locator(f"#{where} input[type=file]").set_input_files([str(file) for file in files])


def choose_photo(page: Page, photo: Path) -> None:
    upload(page, "photo", photo)
    expect(page.locator("#status")).to_contain_text("Ready to send: 256×256")


def send(page: Page, answer: str) -> dict[str, float]:
    """Send, and read the figures once the status says ``answer``."""
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#status")).to_contain_text(answer)
    return figures(page)


def figures(page: Page) -> dict[str, float]:
    names = page.locator("#figures dt").all_inner_texts()
    values = page.locator("#figures dd").all_inner_texts()
    plain = [value.replace(",", "").removeprefix("1/").split()[0] for value in values]
    return {name: float(value) for name, value in zip(names, plain, strict=True)}


def set_number(page: Page, control: str, value: str) -> None:
    box = page.locator(f"#{control} input[type=number]")
    box.fill(value)
    box.press("Tab")


def picture(page: Page, where: str) -> Image.Image:
    source = page.locator(f"#{where} img").first.get_attribute("src")
    assert source is not None
    return Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB")


def test_more_snr_arrives_better(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    set_number(page, "snr", "0")
    noisy = send(page, "at 0 dB")
    set_number(page, "snr", "15")
    clean = send(page, "at 15 dB")
    assert clean["PSNR"] > noisy["PSNR"] + 0.5
    assert clean["MS-SSIM"] > noisy["MS-SSIM"]
    if "LPIPS" in clean:
        assert clean["LPIPS"] < noisy["LPIPS"]
    assert clean["CBR"] == pytest.approx(48, rel=0.02)
    assert picture(page, "rate-map").size == (256, 256)
    expect(page.locator("#rate-scale")).to_contain_text("symbols per patch of 16×16 pixels")
    expect(page.locator("#symbols table")).to_contain_text("payload")


def inside(page: Page, where: str) -> bool:
    """Whether all of it lies on the screen."""
    box = page.locator(f"#{where}").bounding_box()
    size = page.viewport_size
    assert box is not None
    assert size is not None
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


def test_controls_answer_and_figures_share_one_screen(page: Page) -> None:
    page.get_by_role("button", name="Take the sample portrait").click()
    expect(page.locator("#preview img")).to_be_visible()
    send(page, "Sent 512×600")
    expect(page.locator("#pair img").first).to_be_visible()
    assert page.evaluate("window.scrollY") == 0
    for part in ("snr", "cbr", "send", "status", "pair", "figures"):
        assert inside(page, part), part
    expect(page.locator("#preview")).to_have_count(0)


def test_with_everything_open_send_stays_in_sight(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    for part in ("region-part", "more-part"):
        page.locator(f"#{part} > button").click()
    expect(page.locator("#seed")).to_be_visible()
    assert inside(page, "send")


def test_a_control_is_shown_where_it_is_used(page: Page) -> None:
    page.locator("#region-part > button").click()
    expect(page.locator("#editor")).to_be_visible()
    expect(page.locator("#boxes")).to_have_count(0)
    page.locator("#region").get_by_label("Boxes").check()
    expect(page.locator("#boxes")).to_be_visible()
    expect(page.locator("#editor")).to_have_count(0)
    page.locator("#more-part > button").click()
    expect(page.locator("#effort")).to_be_visible()
    expect(page.locator("#objective")).to_have_count(0)
    set_number(page, "effort", "3")
    expect(page.locator("#objective")).to_be_visible()


@pytest.mark.parametrize("cbr", ["2 %", "0,02", "1/50"])
def test_a_rate_may_be_typed_as_people_write_it(page: Page, photo: Path, cbr: str) -> None:
    choose_photo(page, photo)
    box = page.locator("#cbr input")
    box.fill(cbr)
    box.press("Enter")
    assert send(page, "at 10 dB")["CBR"] == pytest.approx(50, rel=0.02)


def test_the_share_of_the_work_is_shown(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    page.locator("#more-part > button").click()
    set_number(page, "effort", "12")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#status")).to_contain_text(re.compile(r"effort \d+ of 12.*%"))
    expect(page.locator("#status")).to_contain_text("effort 12 for perception")


def test_every_scheme_lies_against_the_source(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    send(page, "at 10 dB")
    page.locator("#compare").click()
    expect(page.locator("#scheme")).to_be_visible()
    seen: list[np.ndarray] = []
    for scheme in ("LRISC", "DeepJSCC"):
        before = page.locator("#against img").nth(1).get_attribute("src")
        page.locator("#scheme").get_by_label(scheme).check()
        if scheme != "LRISC":
            expect(page.locator("#against img").nth(1)).not_to_have_attribute("src", before or "")
        source = page.locator("#against img").nth(1).get_attribute("src")
        assert source is not None
        seen.append(np.asarray(Image.open(io.BytesIO(page.request.get(source).body()))))
        assert np.array_equal(picture(page, "against"), Image.open(photo))
    assert not np.array_equal(*seen)


def test_effort_improves_what_its_objective_says(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    plain = send(page, "at 10 dB;")
    page.locator("#more-part > button").click()
    set_number(page, "effort", "10")
    page.locator("#objective").get_by_label("distortion").check()
    tried = send(page, "effort 10 for distortion")
    assert tried["PSNR"] > plain["PSNR"] + 0.1
    assert tried["symbols"] == plain["symbols"]


def test_a_painted_region_is_the_region(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    paint_the_middle(page)
    send(page, "at 10 dB")
    middle_is_the_region(page, photo)


def paint_the_middle(page: Page) -> None:
    page.locator("#region-part > button").click()
    canvas = page.locator("#editor canvas").first
    canvas.wait_for()
    # As a visitor would: its middle may lie below the screen, or behind the button.
    canvas.evaluate("it => it.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(2000)  # the canvas draws its picture after it exists
    box = canvas.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 25, middle[1] + 10, steps=5)
    page.mouse.move(middle[0], middle[1] + 25, steps=5)
    page.mouse.up()


def middle_is_the_region(page: Page, photo: Path) -> None:
    expect(page.locator("#roi-map")).to_be_visible()
    shown = np.asarray(picture(page, "roi-map"), dtype=float)
    source = np.asarray(Image.open(photo), dtype=float)
    kept = shown[120:136, 120:136].mean() / source[120:136, 120:136].mean()
    darkened = shown[:40, :40].mean() / source[:40, :40].mean()
    assert kept > 0.9
    assert darkened < 0.5


def test_downloads_hold_what_was_sent_and_the_recording_decodes(
    page: Page, photo: Path, tmp_path: Path
) -> None:
    choose_photo(page, photo)
    sent = send(page, "at 10 dB")
    files: dict[str, Path] = {}
    for link in page.locator("#files a[download]").all():
        with page.expect_download() as download:
            link.click()
        name = download.value.suggested_filename
        files[name] = tmp_path / name
        download.value.save_as(files[name])
    assert sorted(files) == [
        "received.zip", "reconstruction.png", "report.json", "sent.zip", "source.png",
    ]  # fmt: skip
    report = json.loads(files["report.json"].read_text())
    assert report["psnr_db"] == pytest.approx(sent["PSNR"], abs=0.01)
    np.testing.assert_array_equal(
        np.asarray(Image.open(files["source.png"])), np.asarray(Image.open(photo))
    )
    assert sorted(zipfile.ZipFile(files["received.zip"]).namelist()) == [
        "received.sigmf-data", "received.sigmf-meta",
    ]  # fmt: skip

    page.get_by_role("tab", name="Decode a recording").click()
    upload(page, "recording", files["received.zip"])
    page.locator("#recording").get_by_text("received.zip").wait_for()
    page.get_by_role("button", name="Decode", exact=True).click()
    expect(page.locator("#decode-status")).to_contain_text("Decoded 256×256")
    decoded = np.asarray(picture(page, "decoded"), dtype=float)
    original = np.asarray(Image.open(files["reconstruction.png"]), dtype=float)
    assert np.abs(decoded - original).mean() < 3  # SNR estimated rather than known


def test_broken_files_and_bad_values_are_told_in_a_sentence(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    upload(page, "photo", broken)
    status = page.locator("#status [role=alert]")
    expect(status).to_have_text("The file broken.png is not a picture that can be read.")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(status).to_have_text("The file broken.png is not a picture that can be read.")
    page.get_by_role("tab", name="Decode a recording").click()
    nothing = tmp_path / "nothing.zip"
    nothing.write_bytes(b"PK")
    upload(page, "recording", nothing)
    page.locator("#recording").get_by_text("nothing.zip").wait_for()
    page.get_by_role("button", name="Decode", exact=True).click()
    expect(page.locator("#decode-status [role=alert]")).to_have_text(
        "The file nothing.zip is not a zip file that can be read."
    )
    expect(page.get_by_text("Traceback")).to_have_count(0)


def test_an_upload_beyond_the_limit_is_refused_clearly(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(40 * 2**20))
    upload(page, "photo", large)
    expect(page.get_by_text(re.compile("maximum allowed size|32")).first).to_be_visible()


def test_a_full_queue_is_told_as_busy(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    full = {"detail": "Queue is full. Max size is 8 and size is 8."}
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json=full))
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text(re.compile("busy", re.IGNORECASE)).first).to_be_visible()


def test_an_outage_shows_no_picture(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    set_number(page, "snr", "-6")
    send(page, "Outage")
    expect(page.locator("#status [role=alert]")).to_be_visible()
    expect(page.locator("#pair img")).to_have_count(0)


@pytest.mark.parametrize("page", [390, 1280], indirect=True)
def test_no_sideways_scrolling_and_everything_by_keyboard(page: Page, photo: Path) -> None:
    choose_photo(page, photo)
    button = page.get_by_role("button", name="Send", exact=True)
    slider = page.locator("#snr input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#snr input[type=number]")).to_have_value("10.5")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Sent 256×256")
    width = page.evaluate("window.innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("#symbols table").bounding_box()
    assert table is not None
    assert table["x"] + table["width"] <= width


def test_a_frame_over_ofdm_is_drawn_and_decoded(page: Page, photo: Path, tmp_path: Path) -> None:
    choose_photo(page, photo)
    expect(page.locator("#plot")).to_have_count(0)
    page.locator("#waveform input").click()
    page.get_by_role("option", name="ofdm", exact=True).click()
    set_number(page, "snr", "20")
    send(page, "at 20 dB")
    page.locator("#plot img").scroll_into_view_if_needed()
    assert picture(page, "plot").width > 800
    with page.expect_download() as download:
        page.locator("#files a[download]").nth(4).click()
    recording = tmp_path / download.value.suggested_filename
    download.value.save_as(recording)
    assert recording.name == "received.zip"

    page.get_by_role("tab", name="Decode a recording").click()
    upload(page, "recording", recording)
    page.locator("#recording").get_by_text("received.zip").wait_for()
    page.get_by_role("button", name="Decode", exact=True).click()
    expect(page.locator("#decode-status")).to_contain_text("frame at sample")
    assert picture(page, "decode-plot").width > 800
