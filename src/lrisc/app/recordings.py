"""IQ recordings through a browser: a SigMF pair in one zip file, or as two files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lrisc.errors import InputError
from lrisc.link.iq import MAX_SYMBOLS, write_recording
from lrisc.link.recording import DATA_SUFFIX, META_SUFFIX, open_recording
from lrisc.link.waveform.numerology import Numerology
from lrisc.link.waveform.source import ArraySource

MAX_UPLOAD_BYTES = 128 * 2**20
"""Of what is unpacked; the largest frame at one sample a symbol takes about half of it, by OFDM
three quarters."""


def zip_recording(
    folder: Path, name: str, samples: Tensor, waveform: Numerology | None = None, guard: int = 0
) -> Path:
    """Write ``name.zip`` with the SigMF pair of some samples, and nothing else, into a folder.

    Args:
        folder: where to.
        name: of the recording.
        samples: complex64 (n,): symbols of a frame at one sample each, or of an OFDM waveform.
        waveform: which of them.
        guard: samples before and behind the frame of an OFDM waveform.
    """
    meta = write_recording(folder / name, samples, waveform=waveform, guard=guard)
    archive = folder / f"{name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in (meta, meta.with_suffix(DATA_SUFFIX)):
            packed.write(path, path.name)
            path.unlink()
    return archive


@dataclass(frozen=True, eq=False)
class Upload:
    """An uploaded recording.

    Attributes:
        source: its samples.
        sample_rate: Hz.
        offset: number of the first sample.
    """

    source: ArraySource
    sample_rate: float
    offset: int


def read_upload(files: Sequence[Path], folder: Path) -> Upload:
    """The samples of an uploaded recording.

    Args:
        files: one zip file with a SigMF pair, or the pair.
        folder: empty, for unpacking.

    Raises:
        InputError: in a sentence, what is missing, broken or too large.
    """
    if not files:
        raise InputError("no recording is chosen: upload a .zip, or .sigmf-meta and .sigmf-data")
    if len(files) > 2:
        raise InputError(f"a recording is one .zip or two files, not {len(files)}")
    if len(files) == 1 and files[0].suffix == ".zip":
        for suffix, content in _unzip(files[0]).items():
            (folder / f"recording{suffix}").write_bytes(content)
    else:
        for suffix, path in {path.suffix: path for path in files}.items():
            if suffix in (META_SUFFIX, DATA_SUFFIX):
                (folder / f"recording{suffix}").symlink_to(path.resolve())
    for suffix in (META_SUFFIX, DATA_SUFFIX):
        if not (folder / f"recording{suffix}").exists():
            raise InputError(
                f"the recording's {suffix} file is missing: upload both files of the pair, "
                "or a .zip that holds them"
            )
    try:
        recording = open_recording(folder / "recording")
        samples = recording.all_samples(MAX_SYMBOLS)
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}/", "the ")) from error
    return Upload(ArraySource(samples), recording.sample_rate, recording.offset)


def _unzip(path: Path) -> dict[str, bytes]:
    """The pair in a zip file, by suffix. Sizes are checked before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as packed:
            members = {
                Path(member.filename).suffix: member
                for member in packed.infolist()
                if member.filename.endswith((META_SUFFIX, DATA_SUFFIX))
            }
            if sum(member.file_size for member in members.values()) > MAX_UPLOAD_BYTES:
                limit = MAX_UPLOAD_BYTES // 2**20
                raise InputError(
                    f"the file {path.name} holds more than {limit} MB, which no frame fills"
                )
            return {suffix: packed.read(member) for suffix, member in members.items()}
    # Encrypted members are a RuntimeError, unknown compression is not implemented.
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, NotImplementedError) as error:
        raise InputError(f"the file {path.name} is not a zip file that can be read") from error
