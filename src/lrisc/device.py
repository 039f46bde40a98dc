"""Where networks run, and how precisely. FEC and range coder always run on the CPU."""

from __future__ import annotations

import os

import torch

from lrisc.errors import InputError

CPU = torch.device("cpu")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "bf16")


def find_device(name: str) -> torch.device:
    """The device of a name: ``auto`` is the GPU where there is one.

    Raises:
        InputError: no such name, or no GPU that torch can use.
    """
    if name not in DEVICES:
        raise InputError(f"the device is one of {', '.join(DEVICES)}, not {name}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU that torch can use here: take --device cpu or auto")
    found = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(found)


def cores() -> int:
    """How many cores this process may use; where the system does not say (macOS), all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_precision(precision: str) -> None:
    """Raise InputError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise InputError(f"the precision is one of {', '.join(PRECISIONS)}, not {precision}")
