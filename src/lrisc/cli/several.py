"""Many pictures in one command: which, where each goes, and what they have in common."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrisc.cli.output import terminal
from lrisc.errors import InputError, LriscError, OutageError, one_line
from lrisc.files import check_outputs, slug, told, write_atomically
from lrisc.images import pictures_in

if TYPE_CHECKING:
    from rich.console import Console

SUMMARY = "summary.csv"
_SHOWN = (
    ("CBR", "cbr", 5), ("PSNR dB", "psnr_db", 2), ("MS-SSIM", "ms_ssim", 4), ("LPIPS", "lpips", 4),
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A picture of many.

    Attributes:
        source: its file.
        name: of its place in the output folder; no two are alike.
    """

    source: Path
    name: str


def find_jobs(images: Sequence[Path]) -> list[Job]:
    """Every picture that is named or lies in a folder that is named, not searched any deeper.

    Raises:
        InputError: a folder holds none.
    """
    found: list[Path] = []
    for path in images:
        if os.path.isdir(path):  # of a name that is too long, too
            pictures = pictures_in(path)
            if not pictures:
                raise InputError(f"the folder {path} holds no pictures")
            found += pictures
        else:
            found.append(path)
    jobs: list[Job] = []
    taken: set[str] = {SUMMARY}
    for path in dict.fromkeys(found):
        numbers = (f"{path.name}-{number}" for number in range(2, len(found) + 2))
        # Names that differ in their letters' case alone are one file to some systems.
        name = next(n for n in (path.stem, path.name, *numbers) if slug(n).lower() not in taken)
        taken.add(slug(name).lower())
        jobs.append(Job(path, slug(name)))
    return jobs


def are_many(images: Sequence[Path]) -> bool:
    """Whether a command has a folder for its output instead of one."""
    return len(images) > 1 or os.path.isdir(images[0])


def check_places(
    outputs: Iterable[Path], jobs: Sequence[Job], roi: Sequence[str], summary: Path | None
) -> None:
    """Refuse, before any job is done, what would cost the user a file.

    Args:
        outputs: of all jobs.
        jobs: whose sources no job may write to, be it another's.
        roi: which may name masks.
        summary: is written anew only where it is one of :func:`run_all`.

    Raises:
        InputError: an output is an input, or the summary somebody else's.
        UnwritableError: a folder cannot be made or written to.
    """
    places = (*outputs, summary) if summary is not None else outputs
    check_outputs(places, inputs=(*(job.source for job in jobs), *roi))
    if summary is not None and os.path.exists(summary) and not _is_ours(summary):
        raise InputError(f"{summary} is no summary of this command: choose another output folder")


def _is_ours(summary: Path) -> bool:
    """Whether the columns are those of a picture that was sent, or of one that failed."""
    with told(f"read {summary}"), summary.open("rb") as file:
        head = file.readline(10_000)
    first, *others = head.decode(errors="replace").rstrip("\n").split(",")
    return first == "image" and (others == ["error"] or {"height", "width", "cbr"} <= {*others})


def run_all(
    jobs: Sequence[Job],
    work: Callable[[Job], dict[str, Any]],
    console: Console,
    summary: Path | None,
) -> list[dict[str, Any]]:
    """Do every job; those that fail do not keep the others from being done.

    Args:
        jobs: what is to be done.
        work: from a job to what the table says of it; its ``error`` may tell of an outage.
        console: gets a line a picture.
        summary: CSV file, written anew after every picture.

    Returns:
        The rows, with ``image`` before what ``work`` returned, and ``error`` where it failed.
    """
    rows: list[dict[str, Any]] = []
    for number, job in enumerate(jobs, 1):
        row: dict[str, Any] = {"image": str(job.source)}
        try:
            row |= work(job)
        except LriscError as error:
            row |= {"error": one_line(error), "exit_code": error.exit_code}
        rows.append(row)
        console.print(f"{number}/{len(jobs)} {job.source.name}: {_short(row)}")
        if summary is not None:
            # A file's name need not be text: what is not comes back as it was.
            write_atomically(summary, os.fsencode(_csv(rows)))
    return rows


def show_table(rows: Sequence[dict[str, Any]], written: str | None) -> None:
    """Print a line a picture, and the means of what arrived.

    Args:
        rows: of :func:`run_all`; a column that none of them has is left out.
        written: what was written, if anything.
    """
    from rich.table import Table

    shown = [column for column in _SHOWN if any(row.get(column[1]) is not None for row in rows)]
    table = Table("picture", "pixels", *(head for head, _, _ in shown), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    arrived = [row for row in rows if "error" not in row]
    means: list[str] = []
    for _, key, digits in shown:
        values = [row[key] for row in arrived if row.get(key) is not None]
        means.append(f"{sum(values) / len(values):.{digits}f}" if values else "–")
    for row in rows:
        size = f"{row['width']}×{row['height']}" if "width" in row else "–"
        cells = (
            f"{row[key]:.{digits}f}" if row.get(key) is not None else "–"
            for _, key, digits in shown
        )
        table.add_row(Path(row["image"]).name, size, *cells)
    table.add_section()
    table.add_row(f"mean of {len(arrived)}", "", *means)
    console = terminal(stderr=False)
    console.print(table)
    if written is not None:
        console.print(f"written: {written}")


def fail_for(rows: Sequence[dict[str, Any]]) -> None:
    """Raise what a single picture would have raised, for all that failed.

    Raises:
        InputError: some could not be sent at all.
        OutageError: frames were lost, and nothing worse happened.
    """
    failed = [row for row in rows if "error" in row]
    if not failed:
        return
    worst = min(failed, key=lambda row: row["exit_code"])
    kind = OutageError if worst["exit_code"] == OutageError.exit_code else InputError
    raise kind(f"{len(failed)} of {len(rows)} pictures failed; {worst['image']}: {worst['error']}")


def _short(row: dict[str, Any]) -> str:
    if "error" in row:
        return row["error"]
    parts = [f"{row['width']}×{row['height']}", f"CBR {row['cbr']:.5f}"]
    for name, key, unit, digits in (("PSNR", "psnr_db", " dB", 2), ("LPIPS", "lpips", "", 4)):
        if row.get(key) is not None:
            parts.append(f"{name} {row[key]:.{digits}f}{unit}")
    return ", ".join(parts)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Numbers and words; what has parts is summed up where it is seconds, or left out."""
    flat = [{name: _cell(name, value) for name, value in row.items()} for row in rows]
    names = dict.fromkeys(name for row in flat for name, value in row.items() if value is not None)
    names.pop("exit_code", None)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _cell(name: str, value: Any) -> Any:
    from lrisc.evaluation.results import text_cell

    if name == "seconds":
        return round(sum(value.values()), 3)
    if isinstance(value, str):
        return text_cell(value)
    return None if isinstance(value, dict | list | tuple) else value
