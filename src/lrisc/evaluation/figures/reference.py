"""Published curves, to see where one stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

DATA_FILE = "reference.json"


@dataclass(frozen=True)
class Curve:
    """A published curve over the Kodak pictures.

    Attributes:
        name: of the system.
        metric: "psnr_db" or "lpips" (AlexNet).
        channel: name of the channel.
        axis: what the curve runs over.
        fixed: value of the other: a CBR, or an SNR in dB.
        points: (x, y).
        source: where the numbers are from.
    """

    name: str
    metric: str
    channel: str
    axis: Literal["snr_db", "cbr"]
    fixed: float
    points: tuple[tuple[float, float], ...]
    source: str

    def fits(self, axis: str, metric: str, channel: str, fixed: float) -> bool:
        """Whether it belongs into a panel."""
        return (self.axis, self.metric, self.channel) == (axis, metric, channel) and abs(
            self.fixed - fixed
        ) <= 0.02 * max(abs(fixed), 1e-9)


def load_curves() -> list[Curve]:
    """All curves of the data file."""
    data: dict[str, Any] = json.loads(
        (files("lrisc.evaluation.figures") / DATA_FILE).read_text(encoding="utf-8")
    )
    entries: list[dict[str, Any]] = data["curves"]
    for entry in entries:
        entry["points"] = tuple((x, y) for x, y in entry["points"])
    return [Curve(**entry) for entry in entries]
