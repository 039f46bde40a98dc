"""IQ recordings: a SigMF pair per frame, and the channel state estimated from its samples.

A recording holds the frame and nothing else: one cf32_le sample per symbol. Its metadata say only
how to read the file. There is no checksum in it: a channel, ours or another program's, changes the
samples in place, and a hash of the clean frame would tell a receiver which samples are right.
"""

import hashlib
import json
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrisc.errors import InputError, OutageError
from lrisc.files import check_regular, write_atomically
from lrisc.link.channels import Received
from lrisc.link.frame import known_symbols, parse_body, parse_header, pilots, preamble

META_SUFFIX = ".sigmf-meta"
DATA_SUFFIX = ".sigmf-data"
DATATYPE = "cf32_le"
MAX_META_BYTES, MAX_DATA_BYTES = 2**20, 128 * 2**20
"""Sizes of the two files of a recording; the largest frame takes about half of it."""
# Estimated noise never falls below -50 dB of the signal: a recording that met no channel at all
# has only rounding errors, and a receiver has no use for an infinite SNR.
NOISE_FLOOR = 1e-5

_log = logging.getLogger(__name__)


def write_recording(path: str | Path, symbols: Tensor) -> Path:
    """Write NAME.sigmf-meta and NAME.sigmf-data, each complete or not at all.

    Args:
        path: either file of the pair, or NAME.
        symbols: complex64 (n,), n > 0.

    Returns:
        Path of the metadata file.
    """
    from sigmf import SigMFFile, __specification__

    if symbols.dim() != 1 or symbols.numel() == 0:
        raise InputError("there are no symbols to record")
    meta_path, data_path = recording_paths(path)
    recording = SigMFFile(
        global_info={
            "core:datatype": DATATYPE,
            "core:version": __specification__,
            "core:num_channels": 1,
            "core:sample_rate": 1.0,
            "core:description": "LRISC frame, one sample per symbol",
        }
    )
    recording.add_capture(0)
    recording.validate()
    samples = symbols.detach().to("cpu", torch.complex64).numpy().astype("<c8")
    write_atomically(data_path, samples.tobytes())
    write_atomically(meta_path, (recording.dumps() + "\n").encode())
    return meta_path


def read_recording(path: str | Path) -> Tensor:
    """Read the samples of a recording.

    Args:
        path: either file of the pair, or their common NAME.

    Returns:
        complex64 (n,), n > 0, all finite.

    Raises:
        InputError: a file is missing, unreadable, of another kind, empty or cut within a sample.
    """
    meta_path, data_path = recording_paths(path)
    described = _read_metadata(meta_path)
    data = _read_bytes(data_path, MAX_DATA_BYTES)
    if not data:
        raise InputError(f"{data_path} is empty")
    if len(data) % 8:
        raise InputError(
            f"{data_path} is cut short: {len(data)} bytes are not whole samples of 8 bytes"
        )
    expected = described.get("core:sha512")
    if expected is not None and hashlib.sha512(data).hexdigest() != expected:
        # Programs that add noise to the samples seldom update the hash.
        _log.warning("the checksum in %s is not that of its samples; reading them", meta_path)
    symbols = torch.from_numpy(np.frombuffer(data, dtype="<c8").astype(np.complex64))
    if not bool(torch.isfinite(torch.view_as_real(symbols)).all()):
        raise InputError(f"{data_path} holds samples that are not finite numbers")
    return symbols


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


def estimate_channel(symbols: Tensor) -> Received:
    """Estimate gain, phase and noise of a constant channel from a recorded frame alone.

    The pilots give a first estimate, with which the header decodes; encoded again, pilots and
    header are a pilot ten times as long, and so is the side information if it decodes. As a frame
    has mean power 1, E|y|^2 = |h|^2 + N0 over all of it, which fixes |h| much better than pilots
    do at high SNR, and helps with N0 at low SNR.

    Args:
        symbols: complex64 (n,) from ``read_recording``.

    Returns:
        The symbols, brought to mean power 1, with one gain throughout and the noise variance.

    Raises:
        InputError: silence, too few symbols for a frame, or another format.
        OutageError: the header fails its CRC.
    """
    if symbols.numel() and not bool(symbols.any()):
        raise InputError("the recording is silent and holds no frame")
    symbols = unit_power(symbols)
    # A recording too short for its pilots is for parse_header to reject, under any gain.
    known = pilots()[: symbols.numel()]
    first = _estimate(symbols[: known.numel()], known)
    header = parse_header(first.received(symbols))

    frame = symbols[: header.frame_symbols]
    power = float(frame.abs().to(torch.float64).square().mean())
    known = preamble(header)
    second = _estimate(symbols[: known.numel()], known).constrained(power, frame.numel())
    try:
        side_info_bits, _ = parse_body(second.received(symbols), header)
    except OutageError:
        # Still the best estimate there is; whoever needs the side information meets the outage.
        return second.received(symbols)
    known = known_symbols(header, side_info_bits)
    sent = known != 0
    third = _estimate(frame[sent], known[sent]).constrained(power, frame.numel())
    return third.received(symbols)


def unit_power(symbols: Tensor) -> Tensor:
    """A recording at mean power 1, complex64 (n,): its scale is the recorder's, not the frame's."""
    exact = symbols.to(torch.complex128)
    power = float(exact.abs().square().mean()) if symbols.numel() else 0.0
    return (exact / math.sqrt(power) if power > 0 else exact).to(torch.complex64)


@dataclass(frozen=True)
class _Estimate:
    """Gain and noise variance of y = h x + noise, from ``count`` known symbols of some energy."""

    gain: complex
    noise: float
    count: int
    energy: float

    def constrained(self, power: float, length: int) -> "_Estimate":
        """Use that the frame, ``length`` symbols, came in with mean power |h|^2 + N0."""
        signal = abs(self.gain) ** 2
        # Two estimates of N0, weighted by their variances: the residual over known symbols, and
        # what the signal leaves of the mean power. |gain|^2 is too large by N0/energy on average.
        rest = power - (signal - self.noise / self.energy)
        residual_variance = self.noise**2 / (self.count - 1)
        rest_variance = (
            2 * signal * self.noise * (1 / self.energy + 1 / length) + self.noise**2 / length
        )
        weight = residual_variance / (residual_variance + rest_variance)
        noise = (1 - weight) * self.noise + weight * rest
        noise = min(max(noise, NOISE_FLOOR * power), power)
        magnitude = math.sqrt(max(power - noise, NOISE_FLOOR * power))
        return replace(self, gain=self.gain / max(abs(self.gain), 1e-30) * magnitude, noise=noise)

    def received(self, symbols: Tensor) -> Received:
        return Received(symbols, torch.full_like(symbols, self.gain), self.noise)


def _estimate(symbols: Tensor, known: Tensor) -> _Estimate:
    """Least-squares gain and the unbiased noise variance of what it leaves."""
    y, x = symbols.to(torch.complex128), known.to(torch.complex128)
    energy = max(float(x.abs().square().sum()), 1e-30)
    gain = complex((x.conj() * y).sum() / energy)
    noise = float((y - gain * x).abs().square().sum()) / max(y.numel() - 1, 1)
    power = float(y.abs().square().sum()) / max(y.numel(), 1)
    return _Estimate(gain, max(noise, NOISE_FLOOR * power, 1e-30), y.numel(), energy)


def _read_bytes(path: Path, limit: int) -> bytes:
    check_regular(path, "file", limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _read_metadata(path: Path) -> dict[str, Any]:
    """The global object of a metadata file that describes the samples we can read."""
    from jsonschema.exceptions import ValidationError
    from sigmf.error import SigMFError
    from sigmf.validate import validate

    try:
        metadata = json.loads(_read_bytes(path, MAX_META_BYTES))
        validate(metadata)
        described: dict[str, Any] = metadata["global"]
    # Brackets nested too deeply are a RecursionError.
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError, SigMFError) as error:
        raise InputError(f"{path} is not SigMF metadata") from error
    if described["core:datatype"] != DATATYPE or described.get("core:num_channels", 1) != 1:
        raise InputError(
            f"{path} describes {described['core:datatype']} samples; "
            f"a frame is one channel of {DATATYPE}"
        )
    if any(capture.get("core:header_bytes") for capture in metadata["captures"]):
        raise InputError(f"{path} describes data with header bytes, which frames do not have")
    return described
