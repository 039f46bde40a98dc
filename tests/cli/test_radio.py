"""encode, channel and decode with the OFDM waveform, and recordings that are no use to them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests import helpers
from tests.helpers import Run

from lrisc.link.iq import write_recording
from lrisc.link.recording import open_recording, write_samples


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, portrait: Image.Image
) -> Path:
    """A folder with photo.png, its OFDM recording tx, and one with one sample a symbol."""
    made = tmp_path_factory.mktemp("radio")
    portrait.crop((100, 40, 356, 296)).save(made / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ("encode", made / "photo.png", "-o", made / "tx", "--cbr", "1/24")
        options = ("--waveform", "ofdm", "--model", tiny_folder)
        assert helpers.run(patch, *arguments, *options) == 0
    write_recording(made / "symbols", torch.ones(400, dtype=torch.complex64))
    return made


@pytest.mark.slow
def test_a_radio_link(folder: Path, tmp_path: Path, run: Run, run_tiny: Run) -> None:
    command = (
        "channel", folder / "tx", "-o", tmp_path / "rx", "--snr", "20", "--channel", "tdl-c",
        "--delay-spread", "300", "--speed", "1.4", "--cfo", "9000", "--timing", "777.5",
        "--sro", "20", "--phase-noise", "2", "--iq-imbalance", "0.5,2", "--dc", "-10",
        "--adc-bits", "8", "--pa", "9", "--seed", "3",
    )  # fmt: skip
    assert run(*command).code == 0
    first = (tmp_path / "rx.sigmf-data").read_bytes()
    assert run(*command).code == 0
    assert (tmp_path / "rx.sigmf-data").read_bytes() == first  # repeatable by seed
    # What the writer annotated is for people: the receiver finds the frame without.
    meta = tmp_path / "rx.sigmf-meta"
    metadata = json.loads(meta.read_text())
    assert metadata["annotations"][0]["core:sample_start"] == 778
    metadata["annotations"] = []
    meta.write_text(json.dumps(metadata))
    plot = tmp_path / "plot.png"
    told = run_tiny("decode", tmp_path / "rx", "-o", tmp_path / "out.png", "--plot", plot)
    assert told.code == 0
    assert abs(int(told.err.split("at sample ")[1].split(",")[0]) - 778) <= 2
    assert abs(float(told.err.split("CFO ")[1].split(" Hz")[0]) - 9000) < 60
    assert Image.open(tmp_path / "out.png").size == (256, 256)
    assert np.asarray(Image.open(plot).convert("RGB")).std() > 20


@pytest.mark.slow
def test_clean_ofdm_and_symbols_make_the_same_picture(
    folder: Path, tmp_path: Path, run_tiny: Run
) -> None:
    pictures = []
    for options in (("--margin", "12"), ("--waveform", "ofdm", "--clip", "inf")):
        name = tmp_path / "frame"
        sent = run_tiny("encode", folder / "photo.png", "-o", name, "--cbr", "1/24", *options)
        assert sent.code == 0
        out = tmp_path / "a.png"
        assert run_tiny("decode", name, "-o", out).code == 0
        pictures.append(np.asarray(Image.open(out)).astype(float))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("datatype", ["cf32_le", "ci16_le", "ci8", "cu8"])
def test_every_data_type_and_bare_files(
    datatype: str, folder: Path, tmp_path: Path, run: Run, run_tiny: Run
) -> None:
    kind = ("--datatype", datatype)
    assert run("channel", folder / "tx", "-o", tmp_path / "rx", "--snr", "25", *kind).code == 0
    bare = (tmp_path / "rx.sigmf-data").rename(tmp_path / "bare.iq")
    told = run_tiny("decode", bare, "-o", tmp_path / "out.png", "--rate", "2e6", *kind)
    assert told.code == 0, told.err


@pytest.mark.slow
def test_all_frames_of_a_recording(folder: Path, tmp_path: Path, run_tiny: Run) -> None:
    frame = open_recording(folder / "tx").all_samples(1 << 20)
    rng = np.random.default_rng(0)
    pause = np.zeros(5000, np.complex64)
    broken = frame.copy()
    broken[1000:2500] = 0  # its header is lost
    x = np.concatenate([pause, frame, pause, broken, pause, frame, pause])
    x = x + (0.02 * rng.standard_normal((x.size, 2))).astype(np.float32).view(np.complex64)[:, 0]
    meta = write_samples(tmp_path / "rx", x.astype(np.complex64), 2e6, "three frames")
    metadata = json.loads(meta.read_text())
    metadata["global"]["core:offset"] = 100_000
    metadata["captures"][0]["core:sample_start"] = 100_000
    meta.write_text(json.dumps(metadata))
    out = tmp_path / "out.png"
    code, _, told = run_tiny("decode", meta, "-o", out, "--all")
    assert code == 0
    third = 105_000 + 2 * (frame.size + 5000)
    assert f"out-1.png: 256×256, frame at sample {105_000}," in told
    assert f"out-3.png: 256×256, frame at sample {third}," in told
    assert f"lost: frame at sample {105_000 + frame.size + 5000}," in told
    assert not (tmp_path / "out-2.png").exists()
    assert not out.exists()


@pytest.mark.slow
def test_bad_recordings(folder: Path, tmp_path: Path, run_tiny: Run) -> None:
    frame = open_recording(folder / "tx").all_samples(1 << 20)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((60_000, 2)).astype(np.float32).view(np.complex64)[:, 0] * 0.2
    bad = frame.copy()
    bad[4000] = np.nan
    cases: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
        "noise": (noise, (3,)),
        "cut mid-frame": (frame[: frame.size // 2], (2,)),
        "cut in the training": (frame[:700], (2, 3)),
        "all zeros": (np.zeros(50_000, np.complex64), (2,)),
        "mirrored": (frame.conj(), (3,)),
        "twice the rate": (np.repeat(frame, 2), (3,)),
        "half the rate": (frame[::2], (3,)),
        "not a number": (bad, (2,)),
        "header lost": (np.concatenate([frame[:1000], noise]), (3,)),
    }
    picture = tmp_path / "out.png"
    for name, (samples, codes) in cases.items():
        meta = write_samples(tmp_path / "rx", frame, 2e6, "x")
        samples.astype(np.complex64).tofile(meta.with_suffix(".sigmf-data"))
        code, _, told = run_tiny("decode", meta, "-o", picture)
        assert code in codes, (name, code, told)
        assert told.count("\n") == 1, (name, told)
        assert not picture.exists()
    # Read as another data type.
    bare = tmp_path / "bare.iq"
    frame.tofile(bare)
    for datatype in ("ci16_le", "ci8", "cu8"):
        options = ("--datatype", datatype, "--rate", "2e6")
        code, _, told = run_tiny("decode", bare, "-o", picture, *options)
        assert code == 3
        assert told.count("\n") == 1
    # Overdriven by 12 dB: that is noise, and the frame is there all the same.
    limit = np.float32(np.abs(frame).mean() / 2)
    clipped = np.clip(frame.real, -limit, limit) + 1j * np.clip(frame.imag, -limit, limit)
    meta = write_samples(tmp_path / "rx", clipped.astype(np.complex64), 2e6, "x")
    assert run_tiny("decode", meta, "-o", picture).code in (0, 3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["encode", "PHOTO", "-o", "OUT", "--waveform", "lte"], "ofdm-long"),
        (["encode", "PHOTO", "-o", "OUT", "--waveform", "ofdm", "--clip", "1"], "clip"),
        (["encode", "PHOTO", "-o", "OUT", "--datatype", "int"], "ci16_le"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--channel", "tdl-z"], "tdl-a"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--iq-imbalance", "1"], "iq-imbalance"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--sro", "1e5"], "sro"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--channel", "rician", "--speed", "-1"],
         "speed"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--delay-spread", "1e30"],
         "the delay spread must lie between 0 and 1e+06 ns, not 1e+30 ns"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--carrier-frequency", "nan"],
         "between 1e+06 and 1e+11 Hz, not nan Hz"),
        *(
            (["channel", "TX", "-o", "OUT", "--snr", "5", option, value], "must lie in")
            for option, value in (
                ("--cfo", "1e30"), ("--timing", "inf"), ("--timing", "-1"), ("--sro", "nan"),
                ("--phase-noise", "-1"), ("--iq-imbalance", "inf,0"), ("--dc", "1e30"),
                ("--adc-bits", "-1"), ("--pa", "nan"),
            )
        ),
        (["encode", "PHOTO", "-o", "OUT", "--margin", "1e9"], "margin must lie between 0 and 60"),
        (["encode", "PHOTO", "-o", "OUT", "--margin", "-1"], "margin must lie between 0 and 60"),
        (["encode", "PHOTO", "-o", "OUT", "--margin", "nan"], "margin must be a finite number"),
        (["encode", "PHOTO", "-o", "OUT", "--waveform", "ofdm", "--clip", "1e30"], "clip"),
        (["decode", "TX", "-o", "OUT.png", "--start-noise", "1e30"], "between 0 and 100"),
        (["decode", "TX", "-o", "OUT.png", "--start-noise", "inf"], "start noise"),
        (["decode", "TX", "-o", "OUT.png", "--samples", "1000000000"], "--samples"),
        (["transmit", "PHOTO", "--start-noise", "1e30"], "between 0 and 100"),
        (["--threads", "1000000000000", "models"], "--threads"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--block-length", "8"], "block length"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--speed", "8"],
         "--speed has no effect on the channel awgn"),
        (["channel", "TX", "-o", "OUT", "--snr", "5", "--channel", "rician", "--delay-spread", "9"],
         "--delay-spread has no effect on the channel rician"),
        (["channel", "RX", "-o", "OUT", "--snr", "5", "--channel", "rayleigh", "--speed", "8"],
         "--speed has no effect on the channel rayleigh at one sample a symbol"),
        (["transmit", "PHOTO", "--channel", "rayleigh", "--carrier-frequency", "1e9"],
         "--carrier-frequency has no effect on the channel rayleigh at one sample a symbol"),
        (["transmit", "PHOTO", "--channel", "tdl-a", "--block-length", "64"], "no block length"),
        (["transmit", "PHOTO", "--roi-strength", "0.3"], "--roi-strength has no effect without"),
        (["encode", "PHOTO", "-o", "OUT", "--roi-steering", "rate"], "no effect without --roi"),
        (["encode", "PHOTO", "-o", "OUT", "--clip", "3"], "--clip has no effect at one sample"),
        (["decode", "TX", "-o", "OUT.png", "--plot", "x.pdf"], ".png"),
        (["decode", "TX", "-o", "OUT.png", "--rate", "2e6"], "data type"),
    ],
)  # fmt: skip
def test_usage_errors_are_one_line(
    arguments: list[str], word: str, folder: Path, tmp_path: Path, run: Run, run_tiny: Run
) -> None:
    names = {
        "PHOTO": folder / "photo.png", "TX": folder / "tx", "RX": folder / "symbols",
        "OUT": tmp_path / "out", "OUT.png": tmp_path / "out.png",
    }  # fmt: skip
    command = [names.get(argument, argument) for argument in arguments]
    own = arguments[0] in ("encode", "decode", "transmit")
    code, _, told = (run_tiny if own else run)(*command)
    assert code == 2
    assert word in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [("--roi-strength", "0.3"), ("--roi-steering", "rate")])
def test_evaluate_refuses_a_way_to_favour_no_region(
    option: tuple[str, str], folder: Path, tmp_path: Path, run: Run
) -> None:
    told = run("evaluate", folder, "--schemes", "lrisc", *option, "-o", tmp_path / "results")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert f"{option[0]} has no effect without --roi" in told.err
    moving = ("--channel", "rayleigh", "--speed", "8", "-o", tmp_path / "results")
    told = run("evaluate", folder, "--schemes", "lrisc", *moving)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "--speed has no effect on the channel rayleigh" in told.err
