"""Configs and command lines made to hang or crash a program."""

import os
import signal
import time
from pathlib import Path

import pytest

from lrisc.errors import InputError
from lrisc.training.schedule import read_schedule

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)


def refused(path: Path, overrides: list[str]) -> str:
    """What is said of a config: one short line, and at once."""
    start = time.process_time()
    with pytest.raises(InputError) as told:
        read_schedule(path, overrides)
    assert time.process_time() - start < 5
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1200
    return str(told.value)


@pytest.mark.parametrize(
    ("kind", "word"), [("long", "more than 256 KB"), ("fifo", "no regular file")]
)
def test_a_config_is_a_regular_file_of_sensible_size(kind: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("name: x\n" * 40_000)
    signal.alarm(60)  # whoever opens it waits for ever
    with pytest.raises(InputError, match=word):
        read_schedule(path, [])
    signal.alarm(0)


# Six levels: told whole it is megabytes, but in a second, so that a test fails instead of hanging.
BOMB = "[&a [x, x, x, x, x, x, x, x, x], " + ", ".join(
    f"&{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(6)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000, "{a: " * 5000, "- " * 5000, "steps: " + "9" * 5000, "name: 2026-99-99",
        LAUGHS, LAUGHS + "optimiser: *m\n", LAUGHS + "name: *m\n", LAUGHS + "steps: *m\n",
        LAUGHS + "data: *m\n", "loss: {mse: '1e999999999'}", "loss: {mse: '1/1e999999999'}",
        "&a [*a]", "name: &a [*a]", "!!python/object/apply:os.system [x]", "\0",
        "a: " + "b" * 300_000,
        "? [a, b]\n: c", "1: 2", "name: .nan",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_hostile_config_is_one_short_line_at_once(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    refused(path, [])


@pytest.mark.parametrize("end", ["]", ", *g]", ", {a: *g}]"])
@pytest.mark.parametrize(
    "key",
    [
        "name", "steps", "data", "preset", "optimiser", "batch_size", "loss.mse", "roi.steering",
        "link.snr_db", "link.channels", "link.channels.awgn", "crops.decode", "stages", "seed",
    ],
)  # fmt: skip
def test_a_value_that_unfolds_is_told_in_part(key: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: x\noutput: y\npreset: tiny\n")
    for text, overrides in (
        (path.read_text() + _nested(key, BOMB + end), []),
        (path.read_text(), [f"{key}={BOMB}{end}"]),
    ):
        path.write_text(text)
        assert key.split(".")[0] in refused(path, overrides)


def _nested(key: str, value: str) -> str:
    """``a.b`` and a value as YAML; where the file says it already, the last one counts."""
    *groups, last = key.split(".")
    return "".join(f"{group}: {{" for group in groups) + f"{last}: {value}" + "}" * len(groups)


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "steps=" + "9" * 5000, "steps=" + "[" * 5000, "x" * 5000, "steps=[1,2]",
        "link.channels={" + ", ".join(letter * 900 + ": 0.5" for letter in "xy") + "}",
        "loss.mse=1e999999999", "preset=[a,b]", "preset=", "preset={a: 1}",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_hostile_override_is_one_short_line(override: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: x\noutput: y\n")
    refused(path, [override])
