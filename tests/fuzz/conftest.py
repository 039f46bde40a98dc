"""Says at the end how many inputs were tried."""

from typing import Any

from tests.fuzz.targets import COUNTS


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if COUNTS:
        each = ", ".join(f"{name} {count:,}" for name, count in COUNTS.items())
        terminalreporter.write_line(f"fuzzed with {COUNTS.total():,} inputs: {each}")
