"""Numbers and names of wrong kinds in the Python API are told, never a TypeError."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.link.channels import Received

PICTURE = picture(96, 96)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cbr": "zero"}, {"cbr": math.nan}, {"cbr": [1]}, {"cbr": "1/" + "9" * 5000},
        {"cbr": 0.0}, {"cbr": -1.0}, {"roi": "detector:nothing"}, {"steps": 0},
        {"snr_db": "10"}, {"snr_db": None}, {"snr_db": np.zeros(3)}, {"snr_db": math.inf},
        {"snr_db": math.nan}, {"model": "nothing"},
        {"steps": 2**63}, {"steps": 1.5}, {"steps": "1"}, {"seed": 0.5}, {"seed": None},
        {"block_length": 1.5},
        {"channel": "wire"}, {"channel": None}, {"effort": 2.5}, {"effort": "3"}, {"effort": -1},
        {"effort": 1, "objective": None}, {"effort": 1, "objective": ["distortion"]},
        {"cbr": None, "beta": "0.2"}, {"cbr": None, "beta": True}, {"cbr": None, "beta": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_transmit(tiny: LoadedCheckpoint, wrong: dict[str, Any]) -> None:
    if "block_length" in wrong:
        wrong = {"channel": "rayleigh", **wrong}
    with pytest.raises(InputError) as told:
        lrisc.transmit(PICTURE, **{"cbr": "1/12", "model": tiny, **wrong})
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("margin_db", [math.nan, math.inf, "1", None, -1, 61])
def test_margins(tiny: LoadedCheckpoint, margin_db: Any) -> None:
    with pytest.raises(InputError, match="margin"):
        lrisc.Transmitter(tiny).encode(PICTURE, snr_db=10, cbr=1 / 12, margin_db=margin_db)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf, None])
def test_noise(tiny: LoadedCheckpoint, noise: Any) -> None:
    symbols = lrisc.Transmitter(tiny).encode(PICTURE, snr_db=10, cbr=1 / 12).symbols
    with pytest.raises(InputError, match="noise variance"):
        lrisc.Receiver(tiny).decode(Received(symbols, torch.ones_like(symbols), noise))


def test_what_is_meant_is_taken(tiny: LoadedCheckpoint) -> None:
    numbers: dict[str, Any] = {"snr_db": np.float32(10), "seed": np.int64(1), "steps": np.int64(1)}
    given = lrisc.transmit(
        np.asarray(PICTURE.permute(1, 2, 0)), model=tiny, cbr="1/12", channel="AWGN", **numbers
    )
    plain = lrisc.transmit(PICTURE, model=tiny, cbr=1 / 12, seed=1)
    assert given.report.channel == "awgn"
    assert given.report.psnr_db == plain.report.psnr_db
