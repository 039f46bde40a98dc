"""``python -m lrisc.training CONFIG.yaml [key=value ...]``, also under torchrun."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lrisc.errors import LriscError
from lrisc.training.main import run


def main() -> int:
    """Train; returns the exit code: 0 done or out of time, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.training", description=__doc__)
    parser.add_argument("config", type=Path, help="a stage or a plan, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("lrisc").setLevel(logging.INFO)
    try:
        outcome = run(arguments.config, arguments.overrides)
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 130 if outcome == "interrupted" else 0


if __name__ == "__main__":
    sys.exit(main())
