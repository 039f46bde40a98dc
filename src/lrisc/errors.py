"""Errors a user can cause or must know of; each carries the exit code of the command line."""

import math
import operator
import reprlib

MAX_STEPS = 1000
"""Of the diffusion."""
MAX_START_NOISE = 100
"""Standard deviation of the noise that decoding starts from; a picture's values are -1 to 1."""
MAX_SAMPLES = 100
"""Pictures that are painted of one frame, all in memory."""
MAX_MARGIN_DB = 60
"""One Rayleigh fade in a million is deeper."""


class LriscError(Exception):
    """Base of every error whose message is written for the user: one line, what to do."""

    exit_code = 2


class InputError(LriscError):
    """Bad usage or bad input: a broken picture, an impossible CBR, a wrong checkpoint."""


class OutageError(LriscError):
    """The frame was lost: its header or side information failed the CRC. No picture exists."""

    exit_code = 3


def one_line(message: object) -> str:
    """A message without line breaks."""
    return " ".join(str(message).split())


def reason(error: Exception) -> str:
    """Why something failed, in one line and without the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or one_line(error)


def shown(value: object) -> str:
    """A value as an error shows it: at most 100 characters, however large it is."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxother, shortened.maxlong = 2, 80, 40
    shortened.maxlist = shortened.maxtuple = shortened.maxdict = shortened.maxset = 4
    text = one_line(shortened.repr(value))
    return text if len(text) <= 100 else f"{text[:97]}..."


def finite(value: object, what: str) -> float:
    """A finite number that a program passed.

    Raises:
        InputError: it is none, whatever its type.
    """
    try:
        number = math.nan if isinstance(value, str | bytes | bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} must be a finite number, not {shown(value)}")
    return number


def whole(value: object, what: str) -> int:
    """A whole number that a program passed.

    Raises:
        InputError: it is none, whatever its type.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"{what} must be a whole number, not {shown(value)}") from error


def check_start_noise(deviation: float | None) -> None:
    """Raise InputError unless decoding can start from noise of such a deviation, or none is set."""
    if deviation is not None and not 0 <= finite(deviation, "the start noise") <= MAX_START_NOISE:
        raise InputError(
            f"the start noise must lie between 0 and {MAX_START_NOISE}, not {shown(deviation)}"
        )


def check_margin(margin_db: float) -> None:
    """Raise InputError unless the rate map can be protected for an SNR so much lower."""
    if not 0 <= finite(margin_db, "the margin") <= MAX_MARGIN_DB:
        raise InputError(
            f"the margin must lie between 0 and {MAX_MARGIN_DB} dB, not {shown(margin_db)}"
        )


def check_steps(steps: int | None) -> None:
    """Raise InputError unless a usable number of steps is asked for, or none is."""
    if steps is not None and not 1 <= whole(steps, "steps") <= MAX_STEPS:
        raise InputError(f"steps must lie between 1 and {MAX_STEPS}, not {shown(steps)}")
