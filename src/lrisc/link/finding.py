"""Frames of a recording, whatever their waveform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrisc.errors import LriscError, OutageError

if TYPE_CHECKING:
    from lrisc.link.channels import Received
    from lrisc.link.waveform.receiver import Reception
    from lrisc.link.waveform.source import SampleSource


@dataclass(frozen=True, eq=False)
class FoundFrame:
    """A frame of a recording.

    Attributes:
        told: where it is and how it was received, for people.
        received: its symbols; ``None`` where ``lost`` says so.
        lost: why there will be no picture; ``None`` where nothing is known against it.
        reception: what the receiver of an OFDM waveform estimated.
    """

    told: str
    received: Received | None
    lost: LriscError | None
    reception: Reception | None = None


def find(source: SampleSource, sample_rate: float, offset: int = 0) -> Iterator[FoundFrame]:
    """OFDM frames anywhere in a recording; if there are none, one from its first sample on.

    Args:
        source: its samples.
        sample_rate: Hz.
        offset: number of the first sample.

    Raises:
        InputError: nothing is found, and the recording does not begin with a frame.
    """
    from lrisc.link.iq import estimate_first_frame
    from lrisc.link.waveform.numerology import PRESETS
    from lrisc.link.waveform.receiver import Reception, receive_all

    none = True
    for item in receive_all(source, tuple(PRESETS.values())):
        none = False
        if isinstance(item, Reception):
            told = (
                f"frame at sample {offset + item.detection.start}, "
                f"CFO {item.cfo * sample_rate:+.1f} Hz, clock {item.clock_ppm:+.1f} ppm, "
                f"estimated SNR {item.snr_db:.1f} dB"
            )
            error = OutageError(item.outage) if item.outage is not None else None
            yield FoundFrame(told, item.received, error, item)
        else:
            detection, error = item
            start, cfo = offset + detection.start, detection.cfo * sample_rate
            yield FoundFrame(f"frame at sample {start}, CFO {cfo:+.1f} Hz", None, error)
    if not none:
        return
    try:
        received = estimate_first_frame(source)
    except OutageError as error:
        nothing = OutageError(
            f"{error}; nor is there the preamble of an OFDM waveform in {source.size:,} samples"
        )
        yield FoundFrame("first sample", None, nothing)
        return
    yield FoundFrame(f"estimated SNR {float(received.snr_db().mean()):.1f} dB", received, None)
