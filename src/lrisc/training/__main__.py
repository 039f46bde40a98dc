"""``python -m lrisc.training CONFIG.yaml [key=value ...]``, also under torchrun."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lrisc.errors import InputError
from lrisc.training import missing_package


def main() -> int:
    """Train; returns the exit code: 0 done or out of time, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.training", description=__doc__)
    parser.add_argument("config", type=Path, help="a stage or a plan, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    try:
        from lrisc.training.schedule import exit_code, run
    except ModuleNotFoundError as error:
        print(f"error: {missing_package(error)}", file=sys.stderr)
        return InputError.exit_code
    return exit_code(lambda: run(arguments.config, arguments.overrides))


if __name__ == "__main__":
    sys.exit(main())
