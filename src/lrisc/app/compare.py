"""What other systems would have delivered at the same CBR and SNR.

The schemes come from the evaluation package; where it has none, the page offers no comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrisc.app.service import Request, Service


def available() -> bool:
    """Whether there is anything to compare with."""
    return False


def shown(service: Service, request: Request) -> tuple[Any, ...]:
    """What the page shows: a table and pictures."""
    raise NotImplementedError
