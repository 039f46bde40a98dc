"""What ``lrisc decode`` does with the frames of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.cli.output import terminal
from lrisc.errors import InputError, LriscError, OutageError

if TYPE_CHECKING:
    from lrisc.link.channels import Received
    from lrisc.link.recording import Recording
    from lrisc.link.waveform.receiver import Reception
    from lrisc.system import Receiver


@dataclass(frozen=True)
class _Found:
    """A frame: where it is, for people, and its symbols or what became of it."""

    told: str
    received: Received | None
    lost: LriscError | None
    reception: Reception | None = None


def paint(
    recording: Recording,
    output: Path,
    receiver: Receiver,
    *,
    every: bool,
    plot: Path | None,
    steps: int,
    seed: int,
) -> None:
    """Paint the first frame that can be painted, or every one.

    Raises:
        InputError: nothing to be found, or a frame of another checkpoint.
        OutageError: frames were found, and all of them were lost.
    """
    from lrisc.files import remove_stale, replace_atomically

    console = terminal()
    painted, lost = 0, []
    for number, found in enumerate(_frames(recording), 1):
        target = output.with_name(f"{output.stem}-{number}{output.suffix}") if every else output
        try:
            if found.lost is not None:
                raise found.lost
            assert found.received is not None
            picture = receiver.decode(found.received, steps=steps, seed=seed)
        except OutageError as error:
            # What an earlier run left must not pass for this one's result.
            remove_stale(target)
            lost.append((found, error))
            continue
        except InputError as error:
            lost.append((found, error))
            continue
        replace_atomically(target, lambda path, made=picture: made.save(path, format="png"))
        if plot is not None and not painted:
            _draw(recording, found, plot)
        console.print(f"{target}: {picture.width}×{picture.height}, {found.told}")
        painted += 1
        if not every:
            break
    if painted or len(lost) > 1:
        for found, error in lost:
            console.print(f"lost: {found.told}: {error}")
    if not painted:
        found, error = lost[0]
        raise error


def _frames(recording: Recording) -> Iterator[_Found]:
    """OFDM frames anywhere in the recording; if there are none, one from its first sample on."""
    from lrisc.link.iq import estimate_first_frame
    from lrisc.link.waveform.numerology import PRESETS
    from lrisc.link.waveform.receiver import Reception, receive_all

    rate = recording.sample_rate
    none = True
    for item in receive_all(recording.source, tuple(PRESETS.values())):
        none = False
        if isinstance(item, Reception):
            start = recording.offset + item.detection.start
            told = (
                f"frame at sample {start}, CFO {item.cfo * rate:+.1f} Hz, "
                f"clock {item.clock_ppm:+.1f} ppm, estimated SNR {item.snr_db:.1f} dB"
            )
            error = OutageError(item.outage) if item.outage is not None else None
            yield _Found(told, item.received, error, item)
        else:
            detection, error = item
            start = recording.offset + detection.start
            cfo = detection.cfo * rate
            yield _Found(f"frame at sample {start}, CFO {cfo:+.1f} Hz", None, error)
    if not none:
        return
    try:
        received = estimate_first_frame(recording.source)
    except OutageError as error:
        nothing = OutageError(
            f"{error}; nor is there the preamble of an OFDM waveform in "
            f"{recording.source.size:,} samples"
        )
        yield _Found("first sample", None, nothing)
        return
    yield _Found(f"estimated SNR {float(received.snr_db().mean()):.1f} dB", received, None)


def _draw(recording: Recording, found: _Found, plot: Path) -> None:
    from lrisc.evaluation.figures.recording import draw_reception
    from lrisc.files import replace_atomically

    reception = found.reception
    if reception is None:
        raise InputError("--plot draws OFDM frames; this recording has one sample a symbol")
    replace_atomically(plot, lambda path: draw_reception(recording, reception, path))
