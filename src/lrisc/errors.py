"""Errors a user can cause or must know of; each carries the exit code of the command line."""


class LriscError(Exception):
    """Base of every error whose message is written for the user: one line, what to do."""

    exit_code = 2


class InputError(LriscError):
    """Bad usage or bad input: a broken picture, an impossible CBR, a wrong checkpoint."""


class OutageError(LriscError):
    """The frame was lost: its header or side information failed the CRC. No picture exists."""

    exit_code = 3
