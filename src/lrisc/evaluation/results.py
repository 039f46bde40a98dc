"""A results folder: rows that survive a kill, and what they were made with.

    results.csv      one row per (scheme, image, channel, snr_db, cbr_target, seed)
    sweep.json       format, settings, and fingerprints of pictures and schemes
    pictures/        reconstructions and rate maps of the first pictures

Any number of processes may write to one folder at a time.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from lrisc._version import __version__
from lrisc.errors import InputError, shown
from lrisc.files import check_regular, open_lock, slug, told, write_atomically

FORMAT = 4
ROWS_FILE = "results.csv"
INFO_FILE = "sweep.json"
_LOCK_FILE = ".lock"

Status = Literal["sent", "outage", "impossible"]
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SEED = re.compile(r"0|[1-9][0-9]{0,18}")
_MEASURED = ("psnr_db", "ms_ssim", "cbr", "cbr_grid", "cbr_on_air")
_MAX_SNR_DB = 1000.0
_MAX_BYTES = 2**28  # of either file; a sweep of a million rows takes half as many
Key = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Row:
    """One picture sent once.

    Attributes:
        scheme: as it was asked for.
        image: file name of the picture.
        channel: name of the channel.
        snr_db: mean Es/N0, dB.
        cbr_target: the ceiling that was asked for.
        seed: that everything random follows from, the same for all pictures and conditions.
        status: "impossible" where the scheme cannot keep the ceiling: without any numbers.
        outage: lost on the channel; the numbers are those of a mid-grey picture.
        psnr_db, ms_ssim: quality.
        lpips, lpips_vgg: with AlexNet and with VGG; ``None`` without the weights, or where VGG was
            not asked for.
        cbr: symbols that were really sent, per 3·H·W.
        cbr_grid: resource elements of the waveform with comb, training and preamble, per 3·H·W.
        cbr_on_air: samples of the waveform, per 3·H·W.
        seconds: from picture to reconstruction.
        note: one line, such as the modulation and coding scheme, or what was impossible.
        psnr_inside_db, psnr_outside_db, lpips_inside, lpips_outside: inside and outside the
            region of interest, where there was one; not of an outage.
        symbols_inside, symbols_outside: complex symbols per embedding, likewise.
    """

    scheme: str
    image: str
    channel: str
    snr_db: float
    cbr_target: float
    seed: int
    status: Status
    outage: bool
    psnr_db: float | None
    ms_ssim: float | None
    lpips: float | None
    lpips_vgg: float | None
    cbr: float | None
    cbr_grid: float | None
    cbr_on_air: float | None
    seconds: float
    note: str = ""
    psnr_inside_db: float | None = None
    psnr_outside_db: float | None = None
    lpips_inside: float | None = None
    lpips_outside: float | None = None
    symbols_inside: float | None = None
    symbols_outside: float | None = None

    @property
    def key(self) -> Key:
        """What makes two rows the same."""
        return key(self.scheme, self.image, self.channel, self.snr_db, self.cbr_target, self.seed)

    def cells(self) -> list[str]:
        """The row as text, in the order of ``COLUMNS``."""
        cells = {name: _cell(name, value) for name, value in asdict(self).items()}
        return [text_cell(cell) if name in _TEXTS else cell for name, cell in cells.items()]


COLUMNS = tuple(field.name for field in fields(Row))
_TEXTS = ("scheme", "image", "channel", "note")
REGION_COLUMNS = COLUMNS[COLUMNS.index("note") + 1 :]
_CBRS = ("cbr", "cbr_grid", "cbr_on_air")
_DIGITS = (
    {"psnr_db": 4, "ms_ssim": 6, "lpips": 6, "lpips_vgg": 6, "seconds": 3}
    | dict.fromkeys(_CBRS, 8)
    | {name: 6 if name.startswith("lpips") else 4 for name in REGION_COLUMNS}
)


def key(scheme: str, image: str, channel: str, snr_db: float, cbr_target: float, seed: int) -> Key:
    """Key of a row, in the text of its cells."""
    return (
        scheme,
        image,
        channel,
        _cell("snr_db", snr_db),
        _cell("cbr_target", cbr_target),
        _cell("seed", seed),
    )


class ResultsFolder:
    """Reads and writes one results folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(
        self, settings: Mapping[str, Any], images: Mapping[str, str], schemes: Mapping[str, str]
    ) -> None:
        """Create the folder, or make sure that it was begun with the same settings.

        Args:
            settings: what changes the numbers of all schemes.
            images: file name to hash.
            schemes: scheme to fingerprint.

        Raises:
            InputError: another version's folder, or rows made with something else.
        """
        new = {"settings": dict(settings), "images": dict(images), "schemes": dict(schemes)}
        with told(f"write to {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            old = self.info() if self._begun() else None
            if old is None:
                merged = {"format": FORMAT, "lrisc_version": __version__, **new}
            else:
                self._check(old, new)
                merged = {**old, **{k: {**old[k], **new[k]} for k in ("images", "schemes")}}
            if merged != old:
                text = json.dumps(merged, indent=2) + "\n"
                write_atomically(self.path / INFO_FILE, text.encode())
            if not (self.path / ROWS_FILE).exists():
                write_atomically(self.path / ROWS_FILE, _line(COLUMNS))

    def info(self) -> dict[str, Any]:
        """What sweep.json says.

        Raises:
            InputError: there is none, or it is another version's.
        """
        path = self.path / INFO_FILE
        if not os.path.exists(path):
            raise InputError(
                f"{self.path} is no results folder: {INFO_FILE} is missing; "
                "lrisc evaluate makes one in a new or empty folder"
            )
        check_regular(path, "file of results", _MAX_BYTES)
        try:
            info = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            reason = shown(str(error))
            raise InputError(f"cannot read {self.path / INFO_FILE}: {reason}") from error
        if not isinstance(info, dict) or info.get("format") != FORMAT:
            found: Any = info
            version = found.get("lrisc_version", "?") if isinstance(info, dict) else "?"
            raise InputError(
                f"{self.path} holds results of another version (LRISC {shown(version)}); "
                "choose another folder"
            )
        for part in ("settings", "images", "schemes"):
            if not isinstance(info.get(part), dict):
                raise InputError(f"{self.path / INFO_FILE} is damaged: its {part} are missing")
        return info

    def rows(self) -> list[Row]:
        """All finished rows; the half of one that a kill left is not one of them.

        Raises:
            InputError: the file is not one of ours.
        """
        path = self.path / ROWS_FILE
        if not os.path.exists(path):
            return []
        check_regular(path, "file of results", _MAX_BYTES)
        try:
            text = os.fsdecode(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot read {self.path / ROWS_FILE}: {error}") from error
        complete = text[: text.rfind("\n") + 1]
        try:
            lines = list(csv.reader(io.StringIO(complete)))
        except csv.Error as error:
            raise InputError(f"cannot read {self.path / ROWS_FILE}: {error}") from error
        if not lines or tuple(lines[0]) != COLUMNS:
            raise InputError(
                f"{self.path / ROWS_FILE} has other columns: results of another version; "
                "choose another folder"
            )
        rows: dict[Key, Row] = {}
        for number, cells in enumerate(lines[1:], start=2):
            try:
                row = _parse(cells)
            except ValueError as error:
                raise InputError(f"{self.path / ROWS_FILE}, line {number}: {error}") from error
            rows[row.key] = row
        return list(rows.values())

    def append(self, row: Row) -> None:
        """Add a row; it is on disk when this returns."""
        path = self.path / ROWS_FILE
        with told(f"write {path}"), self._locked(), path.open("rb+") as file:
            _seek_past_last_row(file)
            file.write(_line(row.cells()))
            file.flush()
            os.fsync(file.fileno())

    def sort(self, order: Mapping[str, int]) -> None:
        """Bring the rows into an order that does not depend on who finished first.

        Args:
            order: rank of the schemes; others follow by name.
        """
        with self._locked():
            rows = sorted(
                self.rows(),
                key=lambda r: (
                    order.get(r.scheme, len(order)),
                    r.scheme,
                    r.channel,
                    r.cbr_target,
                    r.snr_db,
                    r.seed,
                    r.image,
                ),
            )
            lines = [_line(COLUMNS), *(_line(row.cells()) for row in rows)]
            write_atomically(self.path / ROWS_FILE, b"".join(lines))

    def picture_path(self, row_key: Key, suffix: str) -> Path:
        """Where something drawn for a row is kept."""
        scheme, image, channel, snr_db, cbr, seed = row_key
        name = f"{image}_{channel}_{snr_db}dB_{float(cbr):.6f}_seed-{seed}{suffix}"
        return self.path / "pictures" / slug(scheme) / slug(name)

    def folders(self, schemes: Iterable[str]) -> list[Path]:
        """All that is written into by a sweep of these schemes."""
        pictures = self.path / "pictures"
        kept = (pictures / slug(scheme) for scheme in schemes)
        return [self.path, pictures, self.source_path("").parent, *kept]

    def source_path(self, image: str) -> Path:
        """Where a source picture is kept."""
        return self.path / "pictures" / "source" / slug(f"{image}.png")

    def _begun(self) -> bool:
        return any((self.path / name).exists() for name in (INFO_FILE, ROWS_FILE))

    def _check(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        what = {
            "settings": "with {0} {1}, this sweep has {2}",
            "images": "with another picture named {0}",
            "schemes": "by another {0} ({1}, now {2})",
        }
        for part, message in what.items():
            # A setting that only one of them has is another one; pictures and schemes are added.
            names = old[part] | new[part] if part == "settings" else old[part].keys() & new[part]
            for name in names:
                before, value = (found[part].get(name, "unset") for found in (old, new))
                if before != value:
                    told = message.format(name, before, value)
                    raise InputError(
                        f"the rows in {self.path} were made {told}; choose another folder"
                    )

    @contextmanager
    def _locked(self) -> Generator[None]:
        with open_lock(self.path / _LOCK_FILE) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | int) and name != "seed":
        return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else f"{value:.10g}"
    # A name stays as it is: the key of a row that is read must be that of the row to compute.
    return " ".join(str(value).split()) if name == "note" else str(value)


def _parse(cells: list[str]) -> Row:
    """A row of the file; raises ValueError, in one line, for one that we never write."""
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells instead of {len(COLUMNS)}")
    values: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
    for name in _TEXTS:
        # What text_cell put before it.
        values[name] = values[name].removeprefix("'")
    if not _CHANNEL.fullmatch(values["channel"]):
        raise ValueError(f"{shown(values['channel'])} is no name of a channel")
    if values["status"] not in get_args(Status):
        raise ValueError(f"the status {shown(values['status'])} is unknown")
    if values["outage"] != ("true" if values["status"] == "outage" else "false"):
        raise ValueError(f"{values['status']} and outage {shown(values['outage'])}")
    values["outage"] = values["outage"] == "true"
    for name in ("snr_db", "cbr_target", "seconds"):
        values[name] = _number(name, values[name])
    if not (abs(values["snr_db"]) <= _MAX_SNR_DB and 0 < values["cbr_target"] <= 1):
        raise ValueError(f"no sweep has {values['snr_db']:g} dB and CBR {values['cbr_target']:g}")
    for name in ("psnr_db", "ms_ssim", "lpips", "lpips_vgg", *_CBRS, *REGION_COLUMNS):
        values[name] = _number(name, values[name]) if values[name] else None
    if not _SEED.fullmatch(values["seed"]):
        raise ValueError(f"{shown(values['seed'])} is no seed")
    values["seed"] = int(values["seed"])
    measured = [name for name in _MEASURED if values[name] is not None]
    if measured != ([] if values["status"] == "impossible" else list(_MEASURED)):
        raise ValueError(f"{values['status']}, but measured is {', '.join(measured) or 'nothing'}")
    return Row(**values)


def _number(name: str, text: str) -> float:
    value = float(text[:100])
    # The PSNR of a picture that arrived as it was is infinite.
    if not math.isfinite(value) and not (name.startswith("psnr") and value == math.inf):
        raise ValueError(f"{name} is {value}")
    return value


def text_cell(text: str) -> str:
    """Text that a spreadsheet takes for text: never for a formula, which could run programs."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    # A file's name need not be text: what is not comes back as it was.
    return os.fsencode(text.getvalue())


def _seek_past_last_row(file: BinaryIO) -> None:
    """Go to the end, cutting off what a kill left of a row."""
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
    if end and file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
