"""The exported networks against torch's, and the example receiver that uses them."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import Run, load_script, picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.files import UnwritableError
from lrisc.onnx_networks import DESCRIPTION, NETWORKS, export_networks

pytestmark = pytest.mark.slow
pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MAX_ERROR = 1e-4
"""Of what the values' own largest is; float32 in another order of summing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: LoadedCheckpoint) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    export_networks(tiny, folder)
    return folder


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_script("examples/receiver.py")


def error(exact: torch.Tensor, found: np.ndarray) -> float:
    assert tuple(exact.shape) == found.shape
    return float((exact - torch.from_numpy(found)).abs().max() / exact.abs().max())


# Less than a window, exactly one, one with a rest, several.
@pytest.mark.parametrize("size", [(4, 4), (8, 8), (5, 9), (16, 8), (12, 20)])
def test_every_size_as_torch_has_it(
    folder: Path, tiny: LoadedCheckpoint, size: tuple[int, int]
) -> None:
    h, w = size
    model, networks = tiny.model, dict[str, Any]()
    for name in NETWORKS:
        networks[name] = onnxruntime.InferenceSession(folder / f"{name}.onnx").run
    generator = torch.Generator().manual_seed(h)
    image = torch.rand(1, 3, 16 * h, 16 * w, generator=generator) * 2 - 1
    levels = torch.randint(0, len(model.config.rate_values), (1, h, w), generator=generator)
    snr_db, snrs_db = torch.tensor([7.0]), torch.rand(1, h * w, generator=generator) * 20
    with torch.no_grad():
        latent = model.analysis(image)
        found = networks["analysis"](None, {"image": image.numpy()})
        assert error(latent, found[0]) < MAX_ERROR
        assert error(model.embedding_bits(latent), found[1]) < MAX_ERROR

        slots = model.jscc_encoder(latent, levels, snr_db)
        inputs = {"latent": latent.numpy(), "levels": levels.numpy(), "snr_db": snr_db.numpy()}
        assert error(slots, networks["jscc_encoder"](None, inputs)[0]) < MAX_ERROR

        estimate = model.jscc_decoder(slots, levels, snrs_db)
        inputs = {"slots": slots.numpy(), "levels": levels.numpy(), "snr_db": snrs_db.numpy()}
        assert error(estimate, networks["jscc_decoder"](None, inputs)[0]) < MAX_ERROR

        painted = model.synthesise(estimate, sigma_start=0.0)
        inputs = {"latent": estimate.numpy(), "start": np.zeros_like(image.numpy())}
        assert error(painted, networks["synthesis"](None, inputs)[0]) < MAX_ERROR


def test_the_description_says_what_a_receiver_needs(folder: Path, tiny: LoadedCheckpoint) -> None:
    about = json.loads((folder / DESCRIPTION).read_text())
    assert about["checkpoint_id"] == tiny.checkpoint_id
    assert about["multiple"] == tiny.model.config.multiple
    assert np.array_equal(about["rate_map_prior"], tiny.prior.table)


@pytest.mark.parametrize("roi", [None, "0,0,64,64"])
def test_the_example_paints_what_the_receiver_does(
    folder: Path, example: ModuleType, tiny: LoadedCheckpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, roi: str | None,
) -> None:  # fmt: skip
    """A file of samples with a gain and a phase of its own; one grey level apart at the most."""
    frame = lrisc.Transmitter(tiny).encode(picture(130, 200), snr_db=12, cbr=1 / 12, roi=roi)
    received = lrisc.channel("awgn", 12, seed=3)(frame)
    turned = received.symbols.numpy() * np.complex64(0.02 * np.exp(1.1j))
    turned.astype("<c8").tofile(tmp_path / "r.sigmf-data")
    arguments = [str(tmp_path / "r.sigmf-data"), str(folder), str(tmp_path / "out.png")]
    monkeypatch.setattr(sys, "argv", ["receiver.py", *arguments])
    example.main()
    painted = np.asarray(Image.open(tmp_path / "out.png")).astype(int)

    from lrisc.link.iq import estimate_channel

    ours = lrisc.Receiver(tiny).decode(estimate_channel(torch.from_numpy(turned)))
    assert np.abs(painted - np.asarray(ours).astype(int)).max() <= 2

    turned[40:300] = 0
    turned.astype("<c8").tofile(tmp_path / "r.sigmf-data")
    with pytest.raises(SystemExit) as stop:
        example.main()
    assert stop.value.code == 3


@pytest.mark.parametrize("name", ["r.sigmf-data", "photo.jpg", "noend"])
def test_the_example_writes_over_nothing_but_a_png(
    folder: Path, example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], name: str,
) -> None:  # fmt: skip
    recording = tmp_path / "r.sigmf-data"
    recording.write_bytes(bytes(8000))
    (tmp_path / name).write_bytes(bytes(8000))
    monkeypatch.setattr(
        sys, "argv", ["receiver.py", *map(str, (recording, folder)), str(tmp_path / name)]
    )
    with pytest.raises(SystemExit) as stop:
        example.main()
    assert stop.value.code == 2
    assert "must end in .png" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == bytes(8000)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_tiny: Run) -> None:
    import lrisc.onnx_networks as networks

    monkeypatch.setattr(networks, "_write", lambda path, *_: (path.write_bytes(b"x"), path)[1])
    out = tmp_path / "out"
    out.mkdir()
    code, _, told = run_tiny("export", "--onnx", out)
    assert code == 0
    for name in (*(f"{n}.onnx" for n in NETWORKS), DESCRIPTION):
        assert name in told
        assert (out / name).exists()


def test_without_a_temporary_folder_it_is_one_line(
    tiny: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(UnwritableError, match="temporary folder: No such file") as told:
        export_networks(tiny, tmp_path / "out")
    assert "\n" not in str(told.value)


def test_without_onnx_the_extra_is_named(
    tiny: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"lrisc\[export\]"):
        export_networks(tiny, tmp_path)
    assert list(tmp_path.iterdir()) == []
