"""Errors a user can cause or must know of; each carries the exit code of the command line."""

import reprlib


class LriscError(Exception):
    """Base of every error whose message is written for the user: one line, what to do."""

    exit_code = 2


class InputError(LriscError):
    """Bad usage or bad input: a broken picture, an impossible CBR, a wrong checkpoint."""


class OutageError(LriscError):
    """The frame was lost: its header or side information failed the CRC. No picture exists."""

    exit_code = 3


def shown(value: object) -> str:
    """A value as an error shows it: at most 100 characters, however large it is."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxother, shortened.maxlong = 2, 80, 40
    shortened.maxlist = shortened.maxtuple = shortened.maxdict = shortened.maxset = 4
    text = " ".join(shortened.repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
