"""A frame of a recording: spectrogram, constellations, channel and SNR per carrier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lrisc.link.ofdm_receiver import Reception
    from lrisc.link.waveform.source import SampleSource

_COLUMNS = 600
_POINTS = 4000


def draw_reception(
    source: SampleSource, sample_rate: float, offset: int, reception: Reception, path: Path
) -> None:
    """Write the five panels as a PNG.

    Args:
        source: the samples.
        sample_rate: Hz.
        offset: number of the first sample, for people.
        reception: a frame found in them.
        path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.2), layout="constrained", dpi=90)
    FigureCanvasAgg(figure)
    grid: Any = figure.add_gridspec(2, 6)
    _spectrogram(figure.add_subplot(grid[0, :]), source, sample_rate, offset, reception)
    seen = reception.diagnostics
    received = np.take_along_axis(seen.elements, seen.data, 1).reshape(-1)[:_POINTS]
    response = np.take_along_axis(seen.response, seen.data, 1).reshape(-1)[:_POINTS]
    noise = np.take_along_axis(seen.noise, seen.data, 1).reshape(-1)[:_POINTS]
    equalised = response.conj() * received / (np.abs(response) ** 2 + noise)
    for place, values, title in (
        (grid[1, 0:2], received, "data elements as received"),
        (grid[1, 2:4], equalised, "equalised (MMSE)"),
    ):
        axes: Any = figure.add_subplot(place)
        axes.plot(values.real, values.imag, ".", markersize=1.2, alpha=0.5)
        limit = 3.5 * float(np.sqrt(np.mean(np.abs(values) ** 2)) + 1e-12)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=title)
        axes.tick_params(labelsize=7)
    _carriers(figure.add_subplot(grid[1, 4:6]), reception)
    figure.savefig(path, format="png")


def _spectrogram(
    axes: Any, source: SampleSource, rate: float, offset: int, reception: Reception
) -> None:
    start, end = reception.detection.start, reception.end
    margin = (end - start) // 4
    low, high = max(start - margin, 0), min(end + margin, source.size)
    size = 256
    starts = np.linspace(low, max(high - size, low), _COLUMNS).astype(np.int64)
    window = np.hanning(size)
    columns = [
        np.fft.fftshift(np.abs(np.fft.fft(source.read(int(at), size) * window)) ** 2)
        for at in starts
    ]
    power = 10 * np.log10(np.array(columns).T + 1e-20)
    top = float(power.max())
    axes.imshow(
        power,
        aspect="auto",
        origin="lower",
        extent=(1e3 * low / rate, 1e3 * high / rate, -rate / 2e3, rate / 2e3),
        vmin=max(top - 60, float(np.percentile(power, 1))),
        vmax=top,
        cmap="magma",
    )
    for edge in (start, end):
        axes.axvline(1e3 * edge / rate, color="white", linewidth=1)
    axes.set(xlabel="ms", ylabel="kHz")
    axes.set_title(
        f"{reception.detection.numerology.name}: frame at sample {offset + start}, "
        f"CFO {reception.cfo * rate:+.1f} Hz, clock {reception.clock_ppm:+.1f} ppm, "
        f"SNR {reception.snr_db:.1f} dB"
    )


def _carriers(axes: Any, reception: Reception) -> None:
    seen, numerology = reception.diagnostics, reception.detection.numerology
    power = np.abs(seen.response) ** 2
    snr = 10 * np.log10(np.maximum(power / seen.noise, 1e-10))
    gain = 10 * np.log10(np.maximum(power / power.mean(), 1e-10))
    khz = numerology.carriers * numerology.spacing / 1e3
    axes.plot(khz, gain.mean(axis=0), label="|H|² over its mean")
    axes.plot(khz, snr.mean(axis=0), label="effective SNR")
    axes.fill_between(khz, snr.min(axis=0), snr.max(axis=0), alpha=0.2)
    axes.set(xlabel="kHz", ylabel="dB", title="channel and SNR per carrier")
    axes.legend(fontsize=8)
    axes.tick_params(labelsize=7)
