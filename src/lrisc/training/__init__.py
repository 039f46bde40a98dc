"""Training: stages, losses, data and the loop."""

from __future__ import annotations

from lrisc.errors import InputError


def missing_package(error: ModuleNotFoundError) -> InputError:
    """What to tell where a package that only training needs is not installed.

    Raises:
        ModuleNotFoundError: the one given, where it is something else that is missing.
    """
    if error.name is None or error.name.partition(".")[0] not in ("accelerate", "tensorboard"):
        raise error
    return InputError(f"training needs {error.name}: pip install 'lrisc[train]'")
