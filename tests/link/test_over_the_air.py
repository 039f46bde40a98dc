"""The SNR that a recording is sent at."""

from pathlib import Path

import numpy as np
import pytest

from lrisc.link.impairments import Impairments
from lrisc.link.multipath import Mobility
from lrisc.link.over_the_air import over_the_air
from lrisc.link.recording import Annotation, FileSource, Recording
from lrisc.link.waveform.numerology import PRESETS

SIZE, FRAME = 60_000, slice(10_000, 30_000)


def sent(source: FileSource, *notes: Annotation) -> tuple[np.ndarray, tuple[Annotation, ...]]:
    recording = Recording(source, 2e6, 0, notes)
    options = {"mobility": Mobility(), "impairments": Impairments(), "seed": 0}
    return over_the_air(recording, "awgn", 10.0, block_length=0, **options)  # type: ignore[arg-type]


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
        recording, "awgn", 60.0, block_length=0, mobility=Mobility(),
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
