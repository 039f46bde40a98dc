"""Training, also under torchrun.

``python -m lrisc.training CONFIG.yaml [key=value ...] [--dry-run] [--plugin MODULE]``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.errors import InputError
from lrisc.registry import add_plugin_option, import_plugins
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
    add_plugin_option(parser)
    arguments = parser.parse_intermixed_args()
    try:
        from lrisc.training.schedule import exit_code, run
    except ModuleNotFoundError as error:
        print(f"error: {missing_package(error)}", file=sys.stderr)
        return InputError.exit_code

    def train() -> Outcome:
        import_plugins(arguments.plugin)
        if arguments.dry_run:
            print_costs(arguments.config, arguments.overrides)
            return "finished"
        return run(arguments.config, arguments.overrides)

    return exit_code(train)


def print_costs(config: Path, overrides: list[str]) -> None:
    """Print the lines of a dry run."""
    from lrisc.training.dry_run import dry_run
    from lrisc.training.schedule import read_schedule

    print("\n".join(dry_run(read_schedule(config, overrides))))


if __name__ == "__main__":
    sys.exit(main())
