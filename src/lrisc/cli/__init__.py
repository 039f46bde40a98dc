"""The command line. Only it and the web page talk to people.

Exit codes: 0 done; 2 bad usage or bad input; 3 outage; 1 a bug.
"""

from lrisc.cli.entry import app, main

__all__ = ["app", "main"]
