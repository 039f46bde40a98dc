"""The SNR that a recording is sent at."""

from pathlib import Path

import numpy as np
import pytest

from lrisc.errors import InputError
from lrisc.link.channels import CHANNELS, ChannelModel, rayleigh_gains
from lrisc.link.impairments import Impairments
from lrisc.link.multipath import Mobility
from lrisc.link.over_the_air import over_the_air
from lrisc.link.recording import Annotation, FileSource, Recording
from lrisc.link.waveform.numerology import PRESETS

SIZE, FRAME = 60_000, slice(10_000, 30_000)


def sent(source: FileSource, *notes: Annotation) -> tuple[np.ndarray, tuple[Annotation, ...]]:
    recording = Recording(source, 2e6, 0, notes)
    options = {"mobility": Mobility(), "impairments": Impairments(), "seed": 0}
    return over_the_air(recording, "awgn", 10.0, block_length=None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        Annotation(0, SIZE, "airport"),
        Annotation(0, SIZE, ""),
        Annotation(-5000, 12_000, "ofdm"),
        Annotation(0, 2 * SIZE, "ofdm"),
        Annotation(FRAME.start, 0, "ofdm"),
    ],
)
def test_the_snr_is_that_of_the_frames_whatever_else_is_marked(
    other: Annotation, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    silent = np.zeros(SIZE, np.complex64)
    values = rng.standard_normal((FRAME.stop - FRAME.start, 2)).astype(np.float32)
    silent[FRAME] = values.view(np.complex64)[:, 0]
    silent.tofile(tmp_path / "rec")
    source = FileSource(tmp_path / "rec", "cf32_le")
    frame = Annotation(FRAME.start, FRAME.stop - FRAME.start, "ofdm")
    for notes in ((other, frame), (frame, other)):
        received, marked = sent(source, *notes)
        assert marked == (frame,)
        power = float(np.mean(np.abs(received[FRAME]) ** 2))
        noise = float(np.mean(np.abs(received[FRAME.stop :]) ** 2))
        # Noise is spread over all carriers, the frame over those that are occupied.
        share = PRESETS["ofdm"].occupied / PRESETS["ofdm"].fft_size
        # The standard error of the two powers is 0.04 dB.
        assert 10 * np.log10((power - noise) / noise / share) == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize("sro", [-1000.0, 1000.0])
@pytest.mark.parametrize("timing", [0.0, 7.4])
def test_a_frame_is_marked_where_another_clock_puts_it(
    sro: float, timing: float, tmp_path: Path
) -> None:
    np.ones(SIZE, np.complex64).tofile(tmp_path / "rec")
    recording = Recording(
        FileSource(tmp_path / "rec", "cf32_le"),
        2e6,
        0,
        (Annotation(10_000, SIZE - 10_000, "ofdm"), Annotation(0, SIZE, "ofdm")),
    )
    samples, marked = over_the_air(
        recording, "awgn", 60.0, block_length=None, mobility=Mobility(),
        impairments=Impairments(sro=sro, timing=timing), seed=0,
    )  # fmt: skip
    start = np.flatnonzero(np.abs(samples) > 0.4)[0]
    end = np.flatnonzero(np.abs(samples) > 0.4)[-1]
    late, whole = marked
    assert late.start == pytest.approx(10_000 * (1 + sro * 1e-6) + timing, abs=0.51)
    assert whole.start == pytest.approx(start, abs=1)
    for note in marked:
        assert note.start + note.count == pytest.approx(end, abs=2)
        assert note.start + note.count <= samples.size


def through(channel: str, folder: Path, *notes: Annotation, block: int | None = None) -> np.ndarray:
    """Ones, sent over a channel without noise to speak of."""
    np.ones(SIZE, np.complex64).tofile(folder / "rec")
    recording = Recording(FileSource(folder / "rec", "cf32_le"), 2e6, 0, notes)
    options = {"mobility": Mobility(), "impairments": Impairments(), "seed": 3}
    return over_the_air(recording, channel, 60.0, block_length=block, **options)[0]  # type: ignore[arg-type]


OFDM = Annotation(0, SIZE, "ofdm")


def test_channels_are_those_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CHANNELS, "_things", dict(CHANNELS))
    CHANNELS.add("street", ChannelModel(rayleigh_gains, "", fades=True, paths="tdl-c"))
    CHANNELS.add("quiet", ChannelModel(CHANNELS["awgn"].gains, ""))
    CHANNELS.add("drawn", ChannelModel(rayleigh_gains, "", fades=True))
    for name, alike in (("AWGN", "awgn"), ("street", "tdl-c"), ("quiet", "awgn")):
        assert np.array_equal(through(name, tmp_path, OFDM), through(alike, tmp_path, OFDM))
    assert np.array_equal(through("Rayleigh", tmp_path), through("rayleigh", tmp_path))
    assert through("drawn", tmp_path).size == SIZE
    for name in ("drawn", "selective"):
        with pytest.raises(InputError, match=f"{name} has no paths"):
            through(name, tmp_path, OFDM)


def test_what_no_recording_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every symbol of selective"):
        through("selective", tmp_path)
    with pytest.raises(InputError, match="OFDM fades with --speed"):
        through("rayleigh", tmp_path, OFDM, block=0)
    with pytest.raises(InputError, match="tdl-a have no block length"):
        through("tdl-a", tmp_path, block=64)
    with pytest.raises(InputError, match="send it a recording with an OFDM waveform"):
        through("tdl-a", tmp_path)
