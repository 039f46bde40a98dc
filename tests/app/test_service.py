"""What the page does, without a browser."""

import ctypes
import json
import os
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc import transmission
from lrisc.app import compare
from lrisc.app import service as service_module
from lrisc.app.recordings import zip_recording
from lrisc.app.region import BOXES
from lrisc.app.service import CHANNEL_CHOICES, SIZES, Request, Service, sentence
from lrisc.app.workspace import FullError, Workspace
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError, OutageError
from lrisc.evaluation.schemes import SCHEMES, Condition, Delivery, Picture, Scheme
from lrisc.link.finding import FoundFrame
from lrisc.link.frame import Header, build_frame


@pytest.fixture(scope="module")
def service(tiny_folder: Path) -> Iterator[Service]:
    workspace = Workspace()
    yield Service(tiny_folder, workspace)
    workspace.close()


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> Request:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    portrait.crop((100, 40, 292, 232)).save(path)
    return Request(picture=path, cbr="1/24")


Spy = Callable[[Callable[..., object]], None]


@pytest.fixture
def before_sending(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Have something called, with the options, before every transmission."""
    real = transmission.transmit

    def spy(act: Callable[..., object]) -> None:
        def transmit(*args: Any, **options: Any) -> transmission.TransmitResult:
            act(**options)
            return real(*args, **options)

        monkeypatch.setattr(transmission, "transmit", transmit)

    return spy


@pytest.mark.slow
def test_an_answer_holds_everything_and_says_the_same_twice(
    service: Service, request_: Request
) -> None:
    answer = service.send(request_)
    assert not answer.failed
    assert answer.status.startswith("Sent 192×192 over awgn at 10 dB")
    names = ["source.png", "reconstruction.png", "report.json", "sent.zip", "received.zip"]
    assert [path.name for path in answer.files] == names
    report = json.loads(answer.files[2].read_text())
    assert f"{report['psnr_db']:.2f} dB" in answer.figures
    assert f"{report['payload_symbols']:,}" in answer.symbols
    assert answer.region is None
    assert answer.rates is not None
    assert answer.rates.size == (192, 192)
    largest = int(
        transmission.transmit(request_.picture, cbr="1/24", model=service.checkpoint).rate_map.max()
    )
    assert f">{largest} symbols per patch" in answer.scale
    assert service.send(request_).figures == answer.figures


@pytest.mark.slow
def test_what_was_received_decodes_from_the_download(service: Service, request_: Request) -> None:
    answer = service.send(request_)
    decoded = service.decode([answer.files[-1]], steps=1, seed=0)
    assert decoded.picture is not None
    difference = np.asarray(decoded.picture, float) - np.asarray(Image.open(answer.files[1]), float)
    assert np.abs(difference).mean() < 4


@pytest.mark.slow
def test_over_ofdm_samples_are_recorded_drawn_and_decoded(
    service: Service, request_: Request
) -> None:
    """The receiver on the page has the samples alone; so has whoever uploads them again."""
    asked = replace(request_, waveform="ofdm", channel="tdl-d", snr_db=20.0, seed=1)
    answer = service.send(asked)
    assert not answer.failed, answer.status
    names = [path.name for path in answer.files]
    assert names[-3:] == ["sent.zip", "received.zip", "recording.png"]
    report = json.loads(answer.files[2].read_text())
    assert report["waveform"] == "ofdm"
    assert report["cbr"] < report["cbr_grid"] < report["cbr_on_air"]
    assert answer.plot is not None
    assert min(Image.open(answer.plot).size) > 300
    sizes: list[int] = []
    for name, start in (("sent", 0), ("received", 1500)):
        with zipfile.ZipFile(answer.files[3 if name == "sent" else 4]) as packed:
            metadata = json.loads(packed.read(f"{name}.sigmf-meta"))
        (note,) = metadata["annotations"]
        assert (note["core:sample_start"], note["core:label"]) == (start, "ofdm")
        sizes.append(note["core:sample_count"])
    assert sizes[0] == sizes[1]
    decoded = service.decode([answer.files[-2]], steps=1, seed=0)
    assert "frame at sample 15" in decoded.status  # after 1500 samples of noise, by a path or two
    assert decoded.picture is not None
    assert decoded.plot in decoded.files
    difference = np.asarray(decoded.picture, float) - np.asarray(Image.open(answer.files[1]), float)
    assert np.abs(difference).mean() < 1
    assert service.send(request_).plot is None


def test_channels_of_the_page_fade_as_they_can() -> None:
    """A block length is offered where there is one to choose."""
    assert {"tdl-a", "cdl-e", "selective"} <= set(CHANNEL_CHOICES)
    assert not any(choice.startswith("tdl-a,") for choice in CHANNEL_CHOICES)
    assert {block for name, block in CHANNEL_CHOICES.values() if name == "rayleigh"} == {None, 0}


@pytest.mark.slow
def test_a_region_darkens_the_rest(service: Service, request_: Request) -> None:
    answer = service.send(replace(request_, region=BOXES, boxes="0,0,96,96"))
    assert answer.region is not None
    kept = np.asarray(answer.region, float) / np.maximum(np.asarray(Image.open(answer.files[0])), 1)
    assert kept[:90, :90].mean() > 0.95
    assert kept[100:, 100:].mean() < 0.6


@pytest.mark.slow
def test_an_outage_has_no_picture_but_says_why(service: Service, request_: Request) -> None:
    answer = service.send(replace(request_, snr_db=-12.0))
    assert answer.failed
    assert answer.status.startswith("Outage")
    assert answer.pair is None
    assert "reconstruction.png" not in [path.name for path in answer.files]


@pytest.mark.slow
def test_large_pictures_are_scaled_and_strips_stay_possible(
    service: Service, tmp_path: Path
) -> None:
    for size, sent in (((1600, 800), (768, 384)), ((4096, 100), (2621, 64)), ((90, 70), (90, 70))):
        path = tmp_path / "p.png"
        Image.new("RGB", size).save(path)
        image, original = service.source(Request(picture=path))
        assert (image.size, original) == (sent, size)
    path = tmp_path / "p.png"
    Image.new("RGB", (1600, 800)).save(path)
    image, _ = service.source(Request(picture=path, size=list(SIZES)[-1]))
    assert image.size == (1600, 800)


@pytest.mark.slow
def test_a_camera_s_picture_is_scaled_and_its_own_size_told(
    service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "camera.jpg"
    Image.new("RGB", (6000, 4000), (90, 120, 40)).save(path)
    shown, size = service.preview(path)
    assert max(shown.size) == 800
    assert size == (6000, 4000)
    image, original = service.source(Request(picture=path))
    assert (image.size, original) == ((768, 512), (6000, 4000))
    image, _ = service.source(Request(picture=path, size=list(SIZES)[-1]))
    assert image.size == (4096, 2731)


def test_bad_input_is_a_sentence_without_folders(service: Service, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"^the file broken\.jpg is not"):
        service.preview(broken)
    with pytest.raises(InputError, match="no picture yet"):
        service.send(Request(picture=None))


def test_sentences(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(InputError("the mask\nhas holes")) == "The mask has holes."
    assert sentence(OutageError("outage: lost")) == "Outage: lost."
    assert sentence(InputError("the file a.png is broken")) == "The file a.png is broken."
    assert sentence(FullError("the server is full")) == "The server is full."
    assert "log" in sentence(ZeroDivisionError("division by zero"))
    assert "division by zero" in caplog.text


def test_every_channel_is_offered(service: Service, request_: Request) -> None:
    assert {name for name, _ in CHANNEL_CHOICES.values()} >= {"awgn", "rayleigh"}
    one_fade = next(c for c, (_, block) in CHANNEL_CHOICES.items() if block == 0)
    answer = service.send(replace(request_, channel=one_fade, snr_db=20.0))
    assert answer.status


@pytest.mark.usefixtures("_grey_and_lost")
def test_one_fade_goes_with_every_waveform(service: Service, request_: Request) -> None:
    asked = replace(request_, channel="rayleigh, one fade", waveform="ofdm", snr_db=24.0, seed=1)
    assert "over rayleigh at 24 dB" in service.send(asked).status
    assert "all the same" in service.compare(asked).table


def test_advice_is_for_visitors_not_for_a_command_line(
    service: Service, request_: Request, tiny: LoadedCheckpoint, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"at least 0\.\d+ is possible") as told:
        service.send(replace(request_, cbr="0.001"))
    assert "--" not in str(told.value)
    levels = np.zeros((4, 4), dtype=np.int64)
    levels[0, 0] = 1
    bits = tiny.prior.encode(levels)
    other = Header(64, 64, tiny.checkpoint_id ^ 1, bits.size, 2, 0, 0)
    symbols = build_frame(other, bits, torch.ones(2, dtype=torch.complex64))
    with pytest.raises(InputError, match="made with checkpoint") as told:
        service.decode([zip_recording(tmp_path, "other", symbols)], steps=1, seed=0)
    assert "--" not in str(told.value)


@pytest.mark.slow
def test_requests_at_once_are_served_one_by_one(service: Service, request_: Request) -> None:
    expected = service.send(request_).figures
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(service.send(request_).figures))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4


@pytest.mark.slow
def test_one_thread_runs_the_networks_whoever_asks(
    service: Service, request_: Request, monkeypatch: pytest.MonkeyPatch, before_sending: Spy
) -> None:
    """Each thread that ever ran them keeps some 20 MB, and the page's server asks from many."""
    ran: set[int] = set()
    parsed = service_module.parse_header

    def parse(*args: Any) -> Header:
        ran.add(threading.get_ident())
        return parsed(*args)

    before_sending(lambda **_: ran.add(threading.get_ident()))
    monkeypatch.setattr(service_module, "parse_header", parse)
    recording = service.send(request_).files[-1]
    tasks: list[Callable[[], object]] = [
        service.warm_up,
        lambda: service.send(request_),
        lambda: service.compare(request_),
        lambda: service.decode([recording], steps=1, seed=0),
    ]
    monkeypatch.setattr(compare, "available", tuple)
    with ThreadPoolExecutor(len(tasks)) as visitors:
        for done in [visitors.submit(task) for task in tasks]:
            done.result()
    assert len(ran) == 1
    assert ran != {threading.get_ident()}


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None) if sys.platform == "linux" else None, "malloc_trim"),
    reason="this C library keeps what it likes",
)
def test_gaps_in_memory_go_back_to_the_system(
    service: Service, request_: Request, before_sending: Spy
) -> None:
    left: list[bytes] = []

    def leave_gaps(**_: object) -> None:
        # 200 MB, and all but 20 of them freed again, but with something left above every gap.
        blocks = [b"x" * 100_000 for _ in range(2000)]
        left.extend(blocks[::10])

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    service.send(request_)
    before_sending(leave_gaps)
    before = resident()
    service.send(request_)
    assert resident() - before < 100


@pytest.mark.slow
def test_a_service_that_stops_finishes_its_work_and_begins_no_other(
    tiny_folder: Path, request_: Request, before_sending: Spy
) -> None:
    working, go_on = threading.Event(), threading.Event()

    def wait(**_: object) -> None:
        working.set()
        assert go_on.wait(60)

    before_sending(wait)
    workspace = Workspace()
    service = Service(tiny_folder, workspace)
    with ThreadPoolExecutor(3) as visitors:
        first = visitors.submit(service.send, request_)
        assert working.wait(60)
        waiting = visitors.submit(service.send, request_)
        drained = visitors.submit(service.drain)
        with pytest.raises(InputError, match="stopping"):
            waiting.result(60)
        assert not drained.done()
        go_on.set()
        drained.result(60)
        assert not first.result(60).failed
    with pytest.raises(InputError, match="stopping"):
        service.send(request_)
    workspace.close()


@SCHEMES.register("test-grey")
class Grey(Scheme):
    def send(self, picture: Picture, condition: Condition) -> Delivery:
        grey = torch.full_like(picture.pixels, 0.5)
        return Delivery(grey, picture.budget(condition.cbr), "all the same")


@SCHEMES.register("test-lost")
class Lost(Scheme):
    def send(self, picture: Picture, condition: Condition) -> Delivery:
        return Delivery(None, picture.budget(condition.cbr), "nothing came through")


@pytest.fixture
def _grey_and_lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page compares with these two."""
    monkeypatch.setattr(compare, "OTHERS", {"test-grey": "Grey", "test-lost": "Lost"})
    compare.available.cache_clear()
    yield
    compare.available.cache_clear()


@pytest.mark.usefixtures("_grey_and_lost")
def test_the_others_get_the_same_picture_and_budget(service: Service, request_: Request) -> None:
    comparison = service.compare(request_)
    assert [name for _, name in comparison.pictures] == ["LRISC", "Grey"]
    assert [Image.open(path).size for path, _ in comparison.pictures] == [(192, 192)] * 2
    assert comparison.source is not None
    assert np.array_equal(Image.open(comparison.source), Image.open(request_.picture or ""))
    assert "all the same" in comparison.table
    assert "outage: nothing came through" in comparison.table
    tried = service.compare(replace(request_, effort=2))
    assert [name for _, name in tried.pictures] == ["LRISC, effort 0", "Grey"]
    assert ">LRISC, effort 0<" in tried.table
    assert comparison.table.count("1/24.0") == 3


@pytest.mark.slow
def test_the_real_others_deliver_and_fail(service: Service, request_: Request) -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    delivered = service.compare(request_)
    assert {"DeepJSCC", "BPG + LDPC"} <= {name for _, name in delivered.pictures}
    assert "model deepjscc-1-24" in delivered.table
    assert "outage" not in delivered.table.partition("DeepJSCC")[2]
    noisy = service.compare(replace(request_, snr_db=-12.0))
    # DeepJSCC always delivers something.
    assert [name for _, name in noisy.pictures] == ["DeepJSCC"]
    assert "outage: no modulation and coding scheme decodes at -12 dB" in noisy.table


@pytest.mark.slow
def test_work_ends_when_its_visitor_leaves_or_its_time_is_up(
    service: Service, request_: Request, monkeypatch: pytest.MonkeyPatch, before_sending: Spy
) -> None:
    before_sending(lambda **_: service.visits.leave("gone"))
    with pytest.raises(InputError, match="left"):
        service.send(request_, "gone")
    assert not service.send(request_, "here").failed
    with monkeypatch.context() as patch:
        patch.setattr(service_module, "DEADLINE_SECONDS", 0.0)
        with pytest.raises(InputError, match="longer than 0 s"):
            service.send(request_)
    assert not service.send(request_).failed


@pytest.mark.parametrize("why", ["left", "longer than"])
def test_a_recording_of_endless_lost_frames_is_left_off(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    """Each takes its decoder's time, and no network runs: 32 MB held the page for a quarter of an
    hour."""
    looked = 0

    def lost(*_: object) -> Iterator[FoundFrame]:
        nonlocal looked
        for looked in range(1000):
            time.sleep(0.001)
            if looked == 20 and why == "left":
                service.visits.leave("gone")
            yield FoundFrame("somewhere", None, OutageError("lost"))

    monkeypatch.setattr(service_module, "find", lost)
    if why != "left":
        monkeypatch.setattr(service_module, "DEADLINE_SECONDS", 0.1)
    packed = zip_recording(tmp_path, "x", torch.ones(400, dtype=torch.complex64))
    with pytest.raises(InputError, match=why):
        service.decode([packed], 1, 0, "gone")
    assert looked < 500


@pytest.mark.slow
def test_too_much_work_is_refused(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (4096, 4096)).save(path)
    as_it_is = list(SIZES)[-1]
    with pytest.raises(InputError, match="at most 1 steps at this size"):
        service.send(Request(picture=path, size=as_it_is, steps=2))
    with pytest.raises(InputError, match="at most 1 steps at this size"):
        service.compare(Request(picture=path, size=as_it_is, steps=2))
    with pytest.raises(InputError, match=r"effort 3 is too much .*: at most 0 at"):
        service.send(Request(picture=path, size=as_it_is, effort=3))


@pytest.mark.slow
def test_the_share_of_the_work_that_is_done_is_told(service: Service, request_: Request) -> None:
    told: list[tuple[float, str]] = []

    def tell(share: float, what: str) -> None:
        told.append((share, what))

    answer = service.send(replace(request_, steps=3, effort=2), tell=tell)
    assert not answer.failed
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.2
    assert 0.6 < shares[-1] <= 1
    texts = [what for _, what in told]
    for wanted in ("effort 1 of 2", "effort 2 of 2", "diffusion step 1 of 3", "step 3 of 3"):
        assert any(wanted in text for text in texts), wanted
    told.clear()
    service.decode([answer.files[-1]], steps=2, seed=0, tell=tell)
    assert told[-1][1] == "diffusion step 2 of 2"


@pytest.mark.usefixtures("_grey_and_lost")
def test_of_a_comparison_every_scheme_is_told(service: Service, request_: Request) -> None:
    told: list[tuple[float, str]] = []
    service.compare(request_, tell=lambda share, what: told.append((share, what)))
    assert [what for _, what in told] == ["LRISC", "Grey", "Lost"]
    assert [share for share, _ in told] == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.slow
def test_effort_and_its_objective_reach_the_transmitter(
    service: Service, request_: Request, before_sending: Spy
) -> None:
    asked: list[str] = []
    before_sending(lambda objective, **_: asked.append(objective))
    service.send(replace(request_, effort=1))
    answer = service.send(replace(request_, effort=2, objective="distortion"))
    assert asked == ["perception", "distortion"]
    assert "at 10 dB, effort 2 for distortion;" in answer.status
    report = json.loads(answer.files[2].read_text())
    assert (report["effort"], report["objective"]) == (2, "distortion")
    assert "effort" not in service.send(request_).status


@pytest.mark.slow
def test_a_recording_of_almost_nothing_paints_nothing_large(
    service: Service, tiny: LoadedCheckpoint, tmp_path: Path
) -> None:
    """The largest picture of two symbols: valid, and so it may take one step and no more."""
    levels = np.zeros((256, 256), dtype=np.int64)
    levels[0, 0] = 1
    bits = tiny.prior.encode(levels)
    header = Header(4096, 4096, tiny.checkpoint_id, bits.size, 2, 0, 0)
    symbols = build_frame(header, bits, torch.ones(2, dtype=torch.complex64))
    with pytest.raises(InputError, match="too much work"):
        service.decode([zip_recording(tmp_path, "small", symbols)], steps=2, seed=0)
