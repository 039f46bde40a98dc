"""What ``lrisc decode`` does with the frames of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.cli.output import terminal
from lrisc.errors import InputError, OutageError
from lrisc.link.finding import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from lrisc.link.channels import Received
    from lrisc.link.ofdm_receiver import Reception
    from lrisc.link.recording import Recording
    from lrisc.system import Receiver


@dataclass(frozen=True)
class Painting:
    """How frames become pictures.

    Attributes:
        steps: of the diffusion; ``None``: what the model says.
        seed: of its noise.
        start_noise: its standard deviation; ``None``: what the model says.
        samples: pictures of one frame; more than one also give a map of where they differ.
    """

    steps: int | None
    seed: int
    start_noise: float | None
    samples: int


def paint(
    recording: Recording,
    output: Path,
    load: Callable[[], Receiver],
    how: Painting,
    *,
    every: bool,
    plot: Path | None,
    inputs: Sequence[Path],
) -> None:
    """Paint the first frame that can be painted, or every one.

    Args:
        recording: to search.
        output: of the picture, or what its numbered names are made from.
        load: loads the networks; called once there is something to paint.
        how: to paint.
        every: all frames, not the first.
        plot: what to draw the first painted frame's reception to.
        inputs: files that nothing is written to.

    Raises:
        InputError: nothing to be found, a frame of another checkpoint, a picture that would be
            written over an input or the plot, or a plot of what is none to be drawn of.
        OutageError: frames were found, and all of them were lost.
    """
    from lrisc.files import check_outputs, remove_stale

    console = terminal()
    receiver: Receiver | None = None
    painted, lost = 0, []
    # What an earlier run left must not pass for this one's result; where nothing was received at
    # all, there is no result.
    received, beside_new = False, list[Path]()

    def places(target: Path) -> list[Path]:
        made = [target, *_sample_paths(target, how.samples)]
        check_outputs(made if plot is None else [*made, plot], inputs=inputs)
        return made

    if not every:
        places(output)
    frames = find(recording.source, recording.sample_rate, recording.offset)
    for number, found in enumerate(frames, 1):
        target = output.with_name(f"{output.stem}-{number}{output.suffix}") if every else output
        written = places(target)
        if found.lost is None:
            if plot is not None and found.reception is None:
                raise InputError("--plot draws OFDM frames; this recording has one sample a symbol")
            receiver = receiver or _ready(load, how)
        try:
            if found.lost is not None:
                raise found.lost
            assert receiver is not None
            assert found.received is not None
            told = _write(receiver, found.received, target, how)
        except (InputError, OutageError) as error:
            lost.append((found, error))
            if isinstance(error, OutageError):
                received = True
                for path in written:
                    remove_stale(path)
            elif every:
                beside_new += written
            continue
        if plot is not None and found.reception is not None and not painted:
            _draw(recording, found.reception, plot)
        console.print(f"{target}: {told[0]}, {found.told}{told[1]}")
        painted += 1
        if not every:
            break
    if painted:
        for path in beside_new:
            remove_stale(path)
    elif received and plot is not None:
        remove_stale(plot)
    if painted or len(lost) > 1:
        for found, error in lost:
            console.print(f"lost: {found.told}: {error}")
    if not painted:
        found, error = lost[0]
        raise error


def _ready(load: Callable[[], Receiver], how: Painting) -> Receiver:
    receiver = load()
    if how.samples != 1:
        from lrisc.system import check_samples

        check_samples(receiver.checkpoint, how.samples, how.start_noise)
    return receiver


def _sample_paths(target: Path, samples: int) -> list[Path]:
    """What is written beside ``target``: the other samples, and the map as the last one."""
    if samples == 1:
        return []
    others = [target.with_suffix(f".{number}.png") for number in range(2, samples + 1)]
    return [*others, target.with_suffix(".uncertainty.png")]


def _write(receiver: Receiver, received: Received, target: Path, how: Painting) -> tuple[str, str]:
    """Paint and write what a frame holds; returns its size and what its samples tell."""
    told = ""
    if how.samples == 1:
        picture = receiver.decode(
            received, steps=how.steps, seed=how.seed, sigma_start=how.start_noise
        )
        _save(picture, target)
    else:
        found = receiver.sample(
            received, how.samples, steps=how.steps, seed=how.seed, sigma_start=how.start_noise
        )
        picture, *others = found.pictures
        beside = _sample_paths(target, how.samples)
        for made, path in zip(
            (picture, *others, found.uncertainty_picture()), (target, *beside), strict=True
        ):
            _save(made, path)
        mean = 255 * float(found.uncertainty.mean())
        told = f"; {how.samples} samples differ by {mean:.1f} of 255, see {beside[-1].name}"
    return f"{picture.width}×{picture.height}", told


def _save(picture: Image.Image, path: Path) -> None:
    from lrisc.files import replace_atomically

    replace_atomically(path, lambda to: picture.save(to, format="png"))


def _draw(recording: Recording, reception: Reception, plot: Path) -> None:
    from lrisc.evaluation.figures.recording import draw_reception
    from lrisc.files import replace_atomically

    where = recording.source, recording.sample_rate, recording.offset
    replace_atomically(plot, lambda path: draw_reception(*where, reception, path))
