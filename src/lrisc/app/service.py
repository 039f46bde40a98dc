"""What the page does, without the page: requests in, answers out.

A checkpoint is loaded once. Requests are served one at a time by one thread, which bounds memory;
the page's queue decides how many may wait.
"""

from __future__ import annotations

import ctypes
import json
import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, Unpack

import torch
from PIL import Image

from lrisc import system, transmission
from lrisc.app import compare, pictures
from lrisc.app.meter import Meter, Tell
from lrisc.app.reader import read_upload_picture
from lrisc.app.recordings import read_upload, zip_recording
from lrisc.app.region import PAINTED, chosen_region
from lrisc.app.visits import Visit, Visits
from lrisc.app.workspace import FullError, Workspace
from lrisc.checkpoint import load_checkpoint
from lrisc.errors import InputError, LriscError, OutageError, one_line
from lrisc.evaluation.figures.recording import draw_reception
from lrisc.evaluation.schemes import Condition
from lrisc.images import MIN_SIDE
from lrisc.link.budget import parse_cbr
from lrisc.link.channels import CHANNELS, DEFAULT_BLOCK_LENGTH
from lrisc.link.finding import FoundFrame, find, receive_all
from lrisc.link.frame import parse_header
from lrisc.link.ofdm_link import OfdmLink, make_link
from lrisc.link.ofdm_receiver import Reception
from lrisc.link.waveform.modulator import modulate
from lrisc.link.waveform.numerology import SYMBOLS
from lrisc.link.waveform.source import ArraySource
from lrisc.refinement.objective import ObjectiveName
from lrisc.roi.region import DEFAULT_GAMMA, Region

_log = logging.getLogger(__name__)

SIZES = {"at most 768 pixels": 768, "at most 1536 pixels": 1536, "as it is": 0}
"""What the longer side of a picture is scaled down to before it is sent."""
PREVIEW_SIDE = 800
MAX_PIXEL_STEPS = 2**24
"""Pixels times diffusion steps of one answer: the largest picture in one step."""
DEADLINE_SECONDS = 300.0
"""What an answer may take from its turn on; the largest takes some 50 s of two cores."""
_STOPPING = "the server is stopping"

T = TypeVar("T")


def _channel_choices() -> dict[str, tuple[str, int | None]]:
    choices: dict[str, tuple[str, int | None]] = {}
    for name, model in CHANNELS.items():
        if model.fades and model.blocks:
            choices[f"{name}, a fade every {DEFAULT_BLOCK_LENGTH} symbols"] = (name, None)
            choices[f"{name}, one fade"] = (name, 0)
        else:
            choices[name] = (name, None)
    return choices


CHANNEL_CHOICES = _channel_choices()
"""What the page calls a channel: its name and its block length."""


@dataclass(frozen=True)
class Request:
    """One picture to send, as the page's controls say."""

    picture: Path | None
    snr_db: float = 10.0
    cbr: str = "1/48"
    channel: str = "awgn"
    steps: int = 1
    effort: int = 0
    objective: ObjectiveName = "perception"
    roi_strength: float = DEFAULT_GAMMA
    region: str = PAINTED
    layers: list[Image.Image] = field(default_factory=list[Image.Image])
    boxes: str = ""
    seed: int = 0
    size: str = next(iter(SIZES))
    waveform: str = SYMBOLS


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        status: one sentence.
        failed: whether the sentence tells of an error or an outage.
        pair: source and reconstruction, two of the files.
        picture: what a recording holds.
        figures: PSNR and the like, HTML.
        region: the region of interest over the picture.
        rates: the rate map over the picture.
        scale: what its colours mean, HTML.
        constellation: received symbols.
        plot: a recording's spectrogram, constellations, channel and SNR per carrier, a file.
        symbols: their number by kind, HTML.
        files: to download.
    """

    status: str
    failed: bool = False
    pair: tuple[Path, Path] | None = None
    picture: Image.Image | None = None
    figures: str = ""
    region: Image.Image | None = None
    rates: Image.Image | None = None
    scale: str = ""
    constellation: Image.Image | None = None
    plot: Path | None = None
    symbols: str = ""
    files: list[Path] = field(default_factory=list[Path])


@dataclass(frozen=True)
class Comparison:
    """What several schemes delivered.

    Attributes:
        table: their figures, HTML.
        source: the picture that all of them sent, a file.
        pictures: file and name of each that is no outage.
    """

    table: str
    source: Path
    pictures: list[tuple[Path, str]]


class Service:
    """Sends pictures and decodes recordings with one checkpoint.

    Args:
        model: name, folder or Hugging Face id of a checkpoint.
        workspace: for uploads and downloads.
        device: where the networks run: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: no such checkpoint.
    """

    def __init__(self, model: str | Path, workspace: Workspace, device: str = "cpu") -> None:
        self.checkpoint = load_checkpoint(model, device)
        self.workspace = workspace
        # Whatever thread runs the networks keeps buffers of the maths library and of the
        # allocator for itself, and the page's server has dozens of threads.
        self._worker = ThreadPoolExecutor(1, "networks")
        self.visits = Visits()
        self._visit, self._meter = Visit(DEADLINE_SECONDS), Meter()
        # Between two networks, and between two steps of one, is where work can end early.
        for module in self.checkpoint.model.children():
            for part in (module, *module.children()):
                part.register_forward_pre_hook(lambda _, __: self._visit.check())
        network = self.checkpoint.model
        network.jscc_decoder.register_forward_pre_hook(lambda _, __: self._meter.decode())
        network.unet.register_forward_pre_hook(lambda _, __: self._meter.step())

    def warm_up(self) -> None:
        """Send a small grey picture, so that the first visitor does not wait for imports."""
        grey = torch.full((3, 256, 384), 0.5)
        self._in_turn(lambda: transmission.transmit(grey, model=self.checkpoint))

    def drain(self) -> None:
        """Wait for the request under way and begin no other.

        The interpreter must not be torn down around a thread that is inside the networks.
        """
        self._worker.shutdown(cancel_futures=True)

    def preview(self, picture: Path) -> tuple[Image.Image, tuple[int, int]]:
        """An uploaded picture, small enough to paint on, and its own width and height.

        Raises:
            InputError: it is no picture that can be sent.
        """
        image, size = read_upload_picture(picture)
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
        return image, size

    def send(
        self, request: Request, session: str | None = None, tell: Tell | None = None
    ) -> Answer:
        """Send a picture and describe what arrives.

        Args:
            request: what to send, and how.
            session: of the visitor; when it leaves, the work ends. The same in all that follow.
            tell: is told how much is done, from another thread. The same in all that follow.

        Raises:
            InputError: anything the user can mend, in a sentence.
        """
        return self._in_turn(lambda: self._send(request, tell), session)

    def compare(
        self, request: Request, session: str | None = None, tell: Tell | None = None
    ) -> Comparison:
        """Send the same picture with this and the other schemes.

        Regions of interest and effort are left out: the others have none.

        Raises:
            InputError: anything the user can mend, in a sentence.
        """
        return self._in_turn(lambda: self._compare(request, tell), session)

    def decode(
        self,
        files: list[Path],
        steps: int,
        seed: int,
        session: str | None = None,
        tell: Tell | None = None,
    ) -> Answer:
        """Paint the picture of an uploaded recording.

        Raises:
            InputError: not a recording of a frame for this checkpoint.
            OutageError: the frame is lost.
        """
        return self._in_turn(lambda: self._decode(files, steps, seed, tell), session)

    def source(self, request: Request) -> tuple[Image.Image, tuple[int, int]]:
        """The picture as it is sent, and the size it was uploaded with."""
        if request.picture is None:
            raise InputError("there is no picture yet: choose a photograph or take the sample")
        image, original = read_upload_picture(request.picture)
        if (longest := SIZES.get(request.size, 0)) and longest < max(image.size):
            # A narrow strip is scaled less: neither side may fall below what can be sent.
            scale = max(longest / max(image.size), MIN_SIDE / min(image.size))
            wide, high = (round(side * scale) for side in image.size)
            image = image.resize((wide, high), Image.Resampling.LANCZOS)
        return image, original

    def _in_turn(self, work: Callable[[], T], session: str | None = None) -> T:
        """What the work returns or raises, done by the one thread for that."""
        with self.visits.open(session, DEADLINE_SECONDS) as visit:

            def begin() -> T:
                self._visit, self._meter = visit, Meter()
                visit.check()
                visit.begin()
                return work()

            try:
                done = self._worker.submit(_and_tidy, begin)
            except RuntimeError:
                raise InputError(_STOPPING) from None
            try:
                return done.result()
            except CancelledError:
                raise InputError(_STOPPING) from None

    def _send(self, request: Request, tell: Tell | None) -> Answer:
        image, original = self.source(request)
        _check_work(*image.size, request.steps, request.effort)
        self._meter = Meter(tell, request.steps, request.effort)
        self._meter.encode()
        region = chosen_region(request.region, request.layers, request.boxes, image.size)
        result = self._transmit(
            image,
            request,
            roi=Region(region, gamma=request.roi_strength),
            effort=request.effort,
            objective=request.objective,
            progress=self._meter.iterate,
            compare_region=False,
        )
        report = result.report
        files, plot = self._write(result)
        sent = f"{image.width}×{image.height}"
        if original != image.size:
            sent += f" (scaled from {original[0]}×{original[1]})"
        if report.outage_reason is not None:
            status = sentence(OutageError(report.outage_reason))
        else:
            seconds = sum(report.seconds.values())
            tried = f", effort {report.effort} for {report.objective}" if report.effort else ""
            link = f"{report.channel} at {report.snr_db:g} dB"
            status = f"Sent {sent} over {link}{tried}; {seconds:.1f} s."
        return Answer(
            status=status,
            failed=result.reconstruction is None,
            pair=None if result.reconstruction is None else (files[0], files[1]),
            figures=_figures(result),
            region=pictures.region_overlay(result.source, result.roi_mask),
            rates=pictures.rate_overlay(result.source, result.rate_map),
            scale=pictures.rate_scale(result.rate_map),
            constellation=None
            if result.received is None
            else pictures.constellation(result.received.equalised()),
            plot=plot,
            symbols=pictures.symbol_table(report.counts, report.height, report.width),
            files=files,
        )

    def _transmit(
        self, image: Image.Image, request: Request, **more: Unpack[transmission.TransmitOptions]
    ) -> transmission.TransmitResult:
        channel, block_length = _channel(request)
        common: transmission.TransmitOptions = {
            "snr_db": request.snr_db,
            "cbr": parse_cbr(request.cbr),
            "channel": channel,
            "block_length": block_length,
            "steps": request.steps,
            "model": self.checkpoint,
            "seed": request.seed,
            "waveform": request.waveform,
        }
        return transmission.transmit(image, **{**common, **more})

    def _compare(self, request: Request, tell: Tell | None) -> Comparison:
        image, _ = self.source(request)
        _check_work(*image.size, request.steps)
        channel, block_length = _channel(request)
        if block_length is not None:
            raise InputError(
                f"the comparison fades every {DEFAULT_BLOCK_LENGTH} symbols or not at all: "
                "choose another channel"
            )
        tell = tell or (lambda share, what: None)
        tell(0, "LRISC")
        condition = Condition(
            channel, request.snr_db, parse_cbr(request.cbr), request.seed, request.waveform
        )
        result = self._transmit(image, request)
        others = compare.deliver(image, condition, self.checkpoint.device, tell)
        # The others have no effort either, and each try would take as long as sending.
        name = "LRISC, effort 0" if request.effort else "LRISC"
        shown = [(name, result.reconstruction)]
        shown += [(compare.OTHERS[other.name], other.picture) for other in others]
        folder = self.workspace.folder()
        _save(result.source, folder / "source.png")
        pictures: list[tuple[Path, str]] = []
        for number, (caption, picture) in enumerate(shown):
            if picture is not None:
                pictures.append((folder / f"{number}.png", caption))
                _save(picture, pictures[-1][0])
        table = compare.table(name, result.report, others)
        return Comparison(table, folder / "source.png", pictures)

    def _decode(self, files: list[Path], steps: int, seed: int, tell: Tell | None) -> Answer:
        upload = read_upload(files, self.workspace.folder())
        found = self._first(find(upload.source, upload.sample_rate, upload.offset))
        assert found.received is not None
        header = parse_header(found.received)
        _check_work(header.width, header.height, steps)
        self._meter = Meter(tell, steps)
        picture = system.Receiver(self.checkpoint).decode(found.received, steps=steps, seed=seed)
        plot = None
        if found.reception is not None:
            plot = self.workspace.folder() / "recording.png"
            draw_reception(upload.source, upload.sample_rate, upload.offset, found.reception, plot)
        path = self.workspace.folder() / "received.png"
        _save(picture, path)
        return Answer(
            status=(
                f"Decoded {picture.width}×{picture.height} from {upload.source.size:,} samples, "
                f"{found.told}."
            ),
            picture=picture,
            constellation=pictures.constellation(found.received.equalised()),
            plot=plot,
            files=[path, *([plot] if plot else [])],
        )

    def _first(self, frames: Iterable[FoundFrame]) -> FoundFrame:
        """The first frame that can be painted; raises what became of the first one otherwise."""
        lost: LriscError | None = None
        for found in frames:
            # A recording may hold thousands that are lost.
            self._visit.check()
            if found.lost is None:
                return found
            lost = lost or found.lost
        assert lost is not None  # a recording without frames is an error of its own
        raise lost

    def _write(self, result: transmission.TransmitResult) -> tuple[list[Path], Path | None]:
        """The files to download, and the plot of what the radio recorded, if there was one."""
        folder = self.workspace.folder()
        files = [folder / "source.png", folder / "report.json"]
        _save(result.source, files[0])
        files[1].write_text(json.dumps(result.report.to_dict(), indent=2) + "\n")
        if result.reconstruction is not None:
            files.insert(1, folder / "reconstruction.png")
            _save(result.reconstruction, files[1])
        symbols, report = result.frame.symbols, result.report
        if report.waveform == SYMBOLS:
            files.append(zip_recording(folder, "sent", symbols))
            if result.received is not None:
                files.append(zip_recording(folder, "received", result.received.symbols))
            return files, None
        # The same seed makes the same channel and noise.
        link = make_link(report.channel, report.snr_db, waveform=report.waveform, seed=report.seed)
        assert isinstance(link, OfdmLink)
        sent = torch.from_numpy(modulate(symbols.numpy(), link.waveform))
        recorded = link.over_the_air(symbols)
        files.append(zip_recording(folder, "sent", sent, link.waveform))
        guard = (recorded.size - sent.numel()) // 2
        received = torch.from_numpy(recorded)
        files.append(zip_recording(folder, "received", received, link.waveform, guard))
        source = ArraySource(recorded)
        for _, item in receive_all(source, (link.waveform,)):
            if isinstance(item, Reception):
                plot = folder / "recording.png"
                draw_reception(source, link.waveform.sample_rate, 0, item, plot)
                return [*files, plot], plot
        return files, None


def _channel(request: Request) -> tuple[str, int | None]:
    """Name and block length; flat fading is one fade to an OFDM frame, whatever is chosen."""
    name, block_length = CHANNEL_CHOICES[request.channel]
    return name, block_length if request.waveform == SYMBOLS else None


def _check_work(width: int, height: int, steps: int, effort: int = 0) -> None:
    """Raise InputError for an answer that would hold up everybody else."""
    # An iteration takes no longer than an answer in one step, encoder and metrics included.
    if width * height * (steps + effort) > MAX_PIXEL_STEPS:
        spare = MAX_PIXEL_STEPS // (width * height) - steps
        if effort and spare >= 0:
            raise InputError(
                f"effort {effort} is too much work here for {width}×{height} pixels: "
                f"at most {spare} at this size"
            )
        raise InputError(
            f"{width}×{height} pixels in {steps} steps are too much work here: "
            f"at most {MAX_PIXEL_STEPS // (width * height)} steps at this size"
        )


def sentence(error: Exception) -> str:
    """What the page says of an error; the whole story of an unexpected one goes to the log."""
    if isinstance(error, InputError | OutageError | FullError):
        text = one_line(error)
        return f"{text[0].upper()}{text[1:]}."
    _log.error("a request failed", exc_info=error)
    return "The program failed on this request; its log on the server says why."


def _and_tidy(work: Callable[[], T]) -> T:
    """What the work returns or raises; the memory it used goes back to the system.

    Pictures of many sizes leave gaps of many sizes, which the C library would keep.
    """
    try:
        return work()
    finally:
        if sys.platform == "linux":
            # Not every C library has it.
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)


def _save(picture: Image.Image, path: Path) -> None:
    # Half a second less than the default, for files a tenth larger.
    picture.save(path, compress_level=1)


def _figures(result: transmission.TransmitResult) -> str:
    report = result.report
    values: dict[str, str] = {}
    if result.reconstruction is not None:
        psnr = report.psnr_db
        values["PSNR"] = "identical" if psnr is None else f"{psnr:.2f} dB"
        values["MS-SSIM"] = f"{report.ms_ssim:.4f}"
        values["LPIPS"] = "not available" if report.lpips is None else f"{report.lpips:.4f}"
    values["CBR"] = f"1/{1 / report.cbr:.1f}"
    values["symbols"] = f"{result.frame.symbols.numel():,}"
    return pictures.figures(values)
