"""Every network that comes inside the package, read without loading any."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrisc.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class EmbeddedNetwork:
    """A folder of weights.

    Attributes:
        name: of the folder.
        about: what it is, in a line.
        parameters: stored values, the rate map's table aside.
        sha256: what config.json says its weights have.
    """

    name: str
    about: str
    parameters: int
    sha256: str

    def check(self) -> None:
        """Read all of it once.

        Raises:
            InputError: it is not what config.json says.
        """
        data = (WEIGHTS / self.name / "model.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise InputError(f"the weights of {self.name} are damaged: install lrisc again")


def embedded_networks() -> list[EmbeddedNetwork]:
    """All of them, LRISC's own first."""
    found = [_read(path.parent) for path in sorted(WEIGHTS.glob("*/config.json"))]
    return sorted(found, key=lambda network: not network.about.startswith("LRISC"))


def _read(folder: Path) -> EmbeddedNetwork:
    info: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with (folder / "model.safetensors").open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    parameters = sum(
        math.prod(tensor["shape"])
        for tensor in header.values()
        if str(tensor.get("dtype", "")).startswith(("F", "BF"))
    )
    return EmbeddedNetwork(
        folder.name, _about(folder.name, info), parameters, info["weights_sha256"]
    )


def _about(name: str, info: dict[str, Any]) -> str:
    kind = info["format"]
    if kind == 1:
        usual = "; what every command takes by default" if name == "compact" else ""
        return f"LRISC, any SNR, rate and picture size{usual}"
    if kind == "deepjscc-1":
        low, high = info["snr_db"]
        trained = f"{low:g} dB alone" if low == high else f"{low:g} to {high:g} dB"
        _, _, *ratio = name.split("-")
        return f"DeepJSCC, to compare with: CBR 1/{ratio[0]}, trained for {trained}"
    return "finds what stands out, for --roi auto"
