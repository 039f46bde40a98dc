"""The package as a library: what it shows, takes and gives back."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.transmission import RegionReport, Report

SCHEMA = json.loads((Path(lrisc.__file__).parent / "report.schema.json").read_text())


def test_what_a_user_sees_of_the_package_is_its_api() -> None:
    assert dir(lrisc) == sorted(lrisc.__all__)
    for name in lrisc.__all__:
        assert getattr(lrisc, name) is not None


def test_lists_give_lists(tiny: LoadedCheckpoint, portrait_path: Path) -> None:
    """Pictures of any kind and size; what comes out is what comes of each alone."""
    small = (picture(96, 96, 1).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    images: list[Any] = [picture(64, 80), small, picture(70, 130, 2)]
    results = lrisc.transmit(images, snr_db=8, cbr=1 / 8, model=tiny, seed=3, measure=False)
    assert [(r.report.width, r.report.height) for r in results] == [(80, 64), (96, 96), (130, 70)]
    alone = lrisc.transmit(images[1], snr_db=8, cbr=1 / 8, model=tiny, seed=3, measure=False)
    assert np.array_equal(np.asarray(results[1].reconstruction), np.asarray(alone.reconstruction))

    transmitter = lrisc.Transmitter(tiny)
    frames = transmitter.encode(tuple(images), snr_db=8, cbr=1 / 8)
    single = transmitter.encode(images[2], snr_db=8, cbr=1 / 8)
    assert torch.equal(frames[2].symbols, single.symbols)
    assert transmitter.encode([], snr_db=8) == []
    with pytest.raises(lrisc.InputError):
        transmitter.encode([images[0], "missing.png"], snr_db=8)


def test_what_is_printed_is_one_short_line(tiny: LoadedCheckpoint) -> None:
    result = lrisc.transmit(picture(96, 128), snr_db=10, cbr=1 / 12, model=tiny)
    assert result.received is not None
    for thing in (result, result.frame, result.received, tiny):
        text = repr(thing)
        assert "\n" not in text
        assert len(text) < 160, text
    assert "128×96" in repr(result.frame)
    assert f"{result.frame.symbols.numel()} symbols" in repr(result.received)


@pytest.mark.parametrize("case", ["plain", "region", "outage", "rayleigh", "beta", "effort"])
def test_reports_are_what_the_schema_says(tiny: LoadedCheckpoint, case: str) -> None:
    options: dict[str, Any] = {
        "plain": {},
        "region": {"roi": "0,0,64,64"},
        "outage": {"snr_db": -15},
        "rayleigh": {"channel": "rayleigh", "snr_db": 20},
        "beta": {"beta": 0.5, "cbr": None},
        "effort": {"effort": 1},
    }[case]
    given: dict[str, Any] = {"snr_db": 10, "cbr": 1 / 8, "model": tiny} | options
    result = lrisc.transmit(picture(96, 128), **given)
    report = json.loads(json.dumps(result.to_dict()))
    jsonschema.validate(report, SCHEMA)
    assert report["outage"] is (case == "outage")
    for name, value in result.frame.to_dict().items():
        assert report[name] == value, name


def test_the_schema_names_every_entry_and_refuses_others(tiny: LoadedCheckpoint) -> None:
    known = set(SCHEMA["properties"])
    mine = {f.name for f in (*fields(Report), *fields(RegionReport))} - {"counts", "region"}
    counts = {"pilot_symbols", "header_symbols", "side_info_symbols", "payload_symbols", "outage"}
    assert known == mine | counts
    result = lrisc.transmit(picture(96, 128), snr_db=10, cbr=1 / 8, model=tiny)
    for change in ({"psnr_db": "high"}, {"colour": 1}, {"outage": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(result.to_dict() | change, SCHEMA)
