"""``python -m lrisc.training CONFIG.yaml [key=value ...] [--dry-run]``, also under torchrun."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.errors import InputError
from lrisc.training import missing_package

if TYPE_CHECKING:
    from lrisc.training.loop import Outcome


def main() -> int:
    """Train; returns the exit code: 0 done or out of time, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.training", description=__doc__)
    parser.add_argument("config", type=Path, help="a stage or a plan, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would cost, and train nothing"
    )
    arguments = parser.parse_intermixed_args()
    try:
        from lrisc.training.schedule import exit_code, run
    except ModuleNotFoundError as error:
        print(f"error: {missing_package(error)}", file=sys.stderr)
        return InputError.exit_code
    if arguments.dry_run:
        return exit_code(lambda: print_costs(arguments.config, arguments.overrides))
    return exit_code(lambda: run(arguments.config, arguments.overrides))


def print_costs(config: Path, overrides: list[str]) -> Outcome:
    """Print the lines of a dry run."""
    from lrisc.training.dry_run import dry_run
    from lrisc.training.schedule import read_schedule

    print("\n".join(dry_run(read_schedule(config, overrides))))
    return "finished"


if __name__ == "__main__":
    sys.exit(main())
