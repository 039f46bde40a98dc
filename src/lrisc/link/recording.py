"""Recordings of IQ samples on disk: SigMF pairs, and the bare files that GNU Radio writes.

Metadata say how to read the file and, for people, where frames were put. A receiver uses nothing
but data type and sample rate. There is no checksum: a channel, ours or another program's, changes
the samples in place, and a hash of the clean frame would tell a receiver which samples are right.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError
from lrisc.files import check_regular, replace_atomically

ComplexArray = npt.NDArray[np.complex64]

META_SUFFIX = ".sigmf-meta"
DATA_SUFFIX = ".sigmf-data"
MAX_META_BYTES, MAX_DATA_BYTES = 2**20, 2**36
"""Sizes of the two files of a recording; 64 GB are an hour at 2 MS/s."""
# Values a converter or a program writes; far above, squares are no floats any more.
_LARGEST = 1e15
_FULL_SCALE = 0.9

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Format:
    """How I and Q of one data type are stored: value = (stored - middle) · scale."""

    dtype: str
    scale: float
    middle: float = 0.0

    @property
    def sample_bytes(self) -> int:
        return 2 * np.dtype(self.dtype).itemsize


DATATYPES: dict[str, _Format] = {
    "cf32_le": _Format("<f4", 1.0),
    "ci16_le": _Format("<i2", 1 / 32768),
    "ci8": _Format("i1", 1 / 128),
    "cu8": _Format("u1", 1 / 128, 128.0),
}
"""SigMF data types that are read and written: float32, and the integers of common radios."""
DEFAULT_DATATYPE = "cf32_le"


@dataclass(frozen=True)
class Annotation:
    """A stretch of a recording that holds a frame, as its writer says.

    Attributes:
        start: first sample in the file.
        count: samples.
        label: the waveform.
    """

    start: int
    count: int
    label: str


class FileSource:
    """Samples of a file, read in parts. See :class:`lrisc.link.waveform.source.SampleSource`."""

    def __init__(self, path: Path, datatype: str) -> None:
        """Look at a file without reading it.

        Raises:
            InputError: it is missing, no regular file, empty, or no whole number of samples.
        """
        check_regular(path, "file", MAX_DATA_BYTES)
        self.path = path
        self._format = DATATYPES[datatype]
        size, each = path.stat().st_size, self._format.sample_bytes
        if not size:
            raise InputError(f"{path} is empty")
        if size % each:
            raise InputError(
                f"{path} is cut short: {size} bytes are not whole samples of {each} bytes"
            )
        self._size = size // each

    @property
    def size(self) -> int:
        """Samples there are."""
        return self._size

    def read(self, start: int, count: int) -> ComplexArray:
        """complex64 (count,) from sample ``start`` on; what lies outside the file is 0.

        Raises:
            InputError: it cannot be read, or holds values that are no samples.
        """
        out = np.zeros(count, np.complex64)
        low, high = max(start, 0), min(start + count, self._size)
        if low >= high:
            return out
        stored = self._stored(low, high - low)
        values = out[low - start : low - start + stored.size // 2].view(np.float32)
        values[:] = stored
        if self._format.middle:
            values -= np.float32(self._format.middle)
        if self._format.scale != 1.0:
            values *= np.float32(self._format.scale)
        # A comparison that NaN fails, too.
        if stored.dtype.kind == "f" and not float(np.abs(values).max()) <= _LARGEST:
            raise InputError(f"{self.path} holds samples that are not finite numbers")
        return out

    def _stored(self, start: int, count: int) -> npt.NDArray[Any]:
        try:
            with self.path.open("rb") as file:
                file.seek(start * self._format.sample_bytes)
                return np.fromfile(file, self._format.dtype, 2 * count)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Recording:
    """A recording that can be read.

    Attributes:
        source: its samples.
        sample_rate: Hz; 1 where a recording does not say.
        offset: number of the first sample, where the file is a part of something longer.
        annotations: frames, as the writer says.
        sha512: of the data, if the metadata have one.
    """

    source: FileSource
    sample_rate: float
    offset: int = 0
    annotations: tuple[Annotation, ...] = ()
    sha512: str | None = None

    def all_samples(self, limit: int) -> ComplexArray:
        """All samples, where they are few; raises InputError where they are more than ``limit``."""
        if self.source.size > limit:
            raise InputError(f"{self.source.path} has more than {limit:,} samples")
        if self.sha512 is not None:
            digest = hashlib.sha512(self.source.path.read_bytes()).hexdigest()
            if digest != self.sha512:
                # Programs that add noise to the samples seldom update the hash.
                _log.warning(
                    "the checksum of %s is not that of its samples; reading them", self.source.path
                )
        return self.source.read(0, self.source.size)


def recording_paths(path: str | Path) -> tuple[Path, Path]:
    """Metadata and data path of a recording named by either of them or by their base name.

    Raises:
        InputError: no file of that name can be.
    """
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (META_SUFFIX, DATA_SUFFIX) else path
    if base.name in ("", "..") or base.name.startswith(".sigmf-"):
        raise InputError(f"'{path}' is no name for a recording")
    return base.with_name(base.name + META_SUFFIX), base.with_name(base.name + DATA_SUFFIX)


def keep_bare_samples(path: str | Path) -> None:
    """Refuse to write a recording where samples without metadata lie: somebody's bare recording.

    Raises:
        InputError: there are such samples, or no file of that name can be.
    """
    meta_path, data_path = recording_paths(path)
    if os.path.lexists(data_path) and not os.path.lexists(meta_path):
        raise InputError(
            f"{data_path} is there, without {meta_path.name}: choose another output, or remove it"
        )


def open_recording(
    path: str | Path, sample_rate: float | None = None, datatype: str | None = None
) -> Recording:
    """Open a recording without reading its samples.

    Args:
        path: either file of a SigMF pair, or their common NAME; a bare file with ``datatype``.
        sample_rate: of a bare file, Hz; 1 if not given.
        datatype: of a bare file, a name in ``DATATYPES``.

    Raises:
        InputError: a file is missing, unreadable, of another kind, empty or cut within a sample.
    """
    if sample_rate is not None:
        check_sample_rate(sample_rate)
    if datatype is not None:
        check_datatype(datatype)
        return Recording(FileSource(Path(path), datatype), sample_rate or 1.0)
    if sample_rate is not None:
        raise InputError("a sample rate is for bare files: say of which data type, too")
    meta_path, data_path = recording_paths(path)
    if not meta_path.exists() and Path(path).suffix not in (META_SUFFIX, DATA_SUFFIX, ""):
        raise InputError(f"there is no {meta_path}; for a bare file say --datatype and --rate")
    metadata = _read_metadata(meta_path)
    described: dict[str, Any] = metadata["global"]
    name = described["core:datatype"]
    if name not in DATATYPES or described.get("core:num_channels", 1) != 1:
        raise InputError(
            f"{meta_path} describes {name} samples of "
            f"{described.get('core:num_channels', 1)} channels; "
            f"read are one channel of {', '.join(DATATYPES)}"
        )
    if described.get("core:metadata_only") or described.get("core:dataset"):
        raise InputError(f"{meta_path} has no {DATA_SUFFIX} file of its own")
    if described.get("core:trailing_bytes") or any(
        capture.get("core:header_bytes") for capture in metadata["captures"]
    ):
        raise InputError(f"{meta_path} describes data with header bytes, which is not read")
    rate = float(described.get("core:sample_rate", 1.0))
    check_sample_rate(rate)
    offset = int(described.get("core:offset", 0))
    return Recording(
        FileSource(data_path, name),
        rate,
        offset,
        tuple(
            Annotation(
                int(entry["core:sample_start"]) - offset,
                int(entry["core:sample_count"]),
                str(entry.get("core:label", "")),
            )
            for entry in metadata.get("annotations", [])
            if "core:sample_count" in entry
        ),
        described.get("core:sha512"),
    )


def write_samples(
    path: str | Path,
    samples: ComplexArray,
    sample_rate: float,
    description: str,
    *,
    annotations: Sequence[Annotation] = (),
    datatype: str = DEFAULT_DATATYPE,
    full_scale: bool = True,
) -> Path:
    """Write NAME.sigmf-meta and NAME.sigmf-data, each complete or not at all, and never unlike.

    Args:
        path: either file of the pair, or NAME.
        samples: complex64 (n,), n > 0.
        sample_rate: Hz.
        description: of the recording, for people.
        annotations: frames, for people.
        datatype: a name in ``DATATYPES``.
        full_scale: bring the largest I or Q to 0.9, which every radio's converter can play; else
            the samples are written as they are, which only floats can be.

    Returns:
        Path of the metadata file.
    """
    from sigmf import SigMFFile, __specification__

    if samples.ndim != 1 or samples.size == 0:
        raise InputError("there are no samples to record")
    check_datatype(datatype)
    check_sample_rate(sample_rate)
    meta_path, data_path = recording_paths(path)
    recording = SigMFFile(
        global_info={
            "core:datatype": datatype,
            "core:version": __specification__,
            "core:num_channels": 1,
            "core:sample_rate": sample_rate,
            "core:description": description,
        }
    )
    recording.add_capture(0)
    for note in annotations:
        recording.add_annotation(note.start, note.count, {"core:label": note.label})
    recording.validate()
    form = DATATYPES[datatype]
    values = np.ascontiguousarray(samples, np.complex64).view(np.float32)
    if full_scale or np.dtype(form.dtype).kind != "f":
        values = values * np.float32(_FULL_SCALE / max(float(np.abs(values).max()), 1e-30))
    if np.dtype(form.dtype).kind != "f":
        values = np.round(values / form.scale + form.middle)
    data, meta = values.astype(form.dtype).tobytes(), (recording.dumps() + "\n").encode()

    def write(temporary: Path) -> None:
        # Both are written before an old pair is touched. Whatever stops this then leaves samples
        # without metadata, which nobody reads, and never under those of others.
        temporary.write_bytes(meta)
        replace_atomically(data_path, lambda to: to.write_bytes(data), outdated=meta_path)

    replace_atomically(meta_path, write)
    return meta_path


def check_datatype(datatype: str) -> None:
    """Raise InputError unless samples of this type can be read and written."""
    if datatype not in DATATYPES:
        raise InputError(f"unknown data type '{datatype}'; choose one of {', '.join(DATATYPES)}")


def check_sample_rate(sample_rate: float) -> None:
    """Raise InputError unless this is a number of samples per second."""
    if not (math.isfinite(sample_rate) and 0 < sample_rate <= 1e12):
        raise InputError(f"the sample rate must be a positive number of Hz, not {sample_rate}")


def _read_metadata(path: Path) -> dict[str, Any]:
    from jsonschema.exceptions import ValidationError
    from sigmf.error import SigMFError
    from sigmf.validate import validate

    check_regular(path, "file", MAX_META_BYTES)
    try:
        metadata = json.loads(path.read_bytes())
        validate(metadata)
        return {"global": metadata["global"], **metadata}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    # Brackets nested too deeply are a RecursionError.
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError, SigMFError) as error:
        raise InputError(f"{path} is not SigMF metadata") from error
