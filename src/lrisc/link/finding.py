"""Frames of a recording, whatever their waveform.

The search needs NumPy alone. What decodes a header takes seconds and hundreds of megabytes to
import, so it is imported once there is a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrisc.errors import InputError, LriscError, OutageError
from lrisc.link.waveform.detection import Detection, find_frames
from lrisc.link.waveform.numerology import PRESETS, Numerology

if TYPE_CHECKING:
    from lrisc.link.channels import Received
    from lrisc.link.ofdm_receiver import Reception
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
    none = True
    for detection, item in receive_all(source, tuple(PRESETS.values())):
        none = False
        if isinstance(item, LriscError):
            start, cfo = offset + detection.start, detection.cfo * sample_rate
            yield FoundFrame(f"frame at sample {start}, CFO {cfo:+.1f} Hz", None, item)
        else:
            told = (
                f"frame at sample {offset + detection.start}, "
                f"CFO {item.cfo * sample_rate:+.1f} Hz, clock {item.clock_ppm:+.1f} ppm, "
                f"estimated SNR {item.snr_db:.1f} dB"
            )
            error = OutageError(item.outage) if item.outage is not None else None
            yield FoundFrame(told, item.received, error, item)
    if not none:
        return
    from lrisc.link.iq import estimate_first_frame

    try:
        received = estimate_first_frame(source)
    except OutageError as error:
        nothing = OutageError(
            f"{error}; nor is there the preamble of an OFDM waveform in {source.size:,} samples"
        )
        yield FoundFrame("first sample", None, nothing)
        return
    yield FoundFrame(f"estimated SNR {float(received.snr_db().mean()):.1f} dB", received, None)


def receive_all(
    source: SampleSource, numerologies: Sequence[Numerology]
) -> Iterator[tuple[Detection, Reception | InputError | OutageError]]:
    """All OFDM frames of a recording in order; one that is found but lost comes with its error."""
    search = find_frames(source, numerologies)
    resume: int | None = None
    while True:
        try:
            detection = next(search) if resume is None else search.send(resume)
        except StopIteration:
            return
        from lrisc.link.ofdm_receiver import receive

        resume = None
        try:
            reception = receive(source, detection)
        except (InputError, OutageError) as error:
            yield detection, error
        else:
            resume = reception.end
            yield detection, reception
