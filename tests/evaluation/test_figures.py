"""Figures: one per condition, with their data, whatever the rows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.helpers import Run, rows_of

from lrisc.errors import InputError
from lrisc.evaluation.figures import curves, draw_all, sheets
from lrisc.evaluation.figures.means import means
from lrisc.evaluation.figures.reference import load_curves
from lrisc.evaluation.figures.sheets import _stems
from lrisc.evaluation.figures.style import Choice, display_name, fraction, looks, save
from lrisc.evaluation.results import ResultsFolder, Row

SCHEMES = ("lrisc", "lrisc-roi", "bpg-ldpc", "bpg-ldpc:16qam-2/3", "mine")


def row(scheme: str, image: str, snr_db: float, cbr: float, lpips: float | None = 0.2) -> Row:
    psnr_db = 20 + snr_db / 5 + cbr * 50 + SCHEMES.index(scheme)
    if scheme == "mine" and image == "b.png":
        return Row(scheme, image, "awgn", snr_db, cbr, 0, "impossible", False, *[None] * 7, 0.1)
    lost = scheme == "bpg-ldpc:16qam-2/3" and snr_db < 10
    return Row(
        scheme, image, "awgn", snr_db, cbr, 0, "outage" if lost else "sent", lost,
        13.0 if lost else psnr_db, 0.9, lpips, None, cbr * 0.99, cbr * 1.1, cbr * 1.4, 0.1,
    )  # fmt: skip


def results(
    path: Path, lpips: float | None = 0.2, schemes: tuple[str, ...] = SCHEMES
) -> ResultsFolder:
    folder = ResultsFolder(path)
    folder.prepare({}, {"a.png": "1", "b.png": "2"}, dict.fromkeys(SCHEMES, ""))
    rng = np.random.default_rng(0)
    for scheme in schemes:
        for image in ("a.png", "b.png"):
            for snr_db in (0.0, 5.0, 10.0):
                for cbr in (1 / 48, 1 / 24):
                    one = row(scheme, image, snr_db, cbr, lpips)
                    folder.append(one)
                    if image == "a.png" and cbr == 1 / 48:
                        paths = [folder.picture_path(one.key, ".png"), folder.source_path(image)]
                        paths += [folder.picture_path(one.key, ".roi.png")] * (
                            scheme == "lrisc-roi"
                        )
                        for kept in paths:
                            kept.parent.mkdir(parents=True, exist_ok=True)
                            Image.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8)).save(kept)
                        if scheme.startswith("lrisc"):
                            np.save(folder.picture_path(one.key, ".rate.npy"), np.eye(4, 6) * 9)
    return folder


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets alone are drawn."""
    for name in ("draw_versus_snr", "draw_versus_cbr"):
        monkeypatch.setattr(curves, name, lambda *_: ())


@pytest.mark.slow
def test_all_figures_and_their_data(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    written = list(draw_all(folder.path, tmp_path / "f", reference=True))
    assert len(written) == len(set(written))
    names = {path.name for path in written}
    stems = {path.stem for path in written}
    assert stems == {
        "quality-vs-snr_awgn_cbr-1-48", "quality-vs-snr_awgn_cbr-1-24",
        "quality-vs-cbr_awgn_snr-0", "quality-vs-cbr_awgn_snr-5", "quality-vs-cbr_awgn_snr-10",
        "grid_a_awgn_cbr-1-48", "rate-map_a_awgn_cbr-1-48",
        "roi_a_awgn_0dB_cbr-1-48", "roi_a_awgn_5dB_cbr-1-48", "roi_a_awgn_10dB_cbr-1-48",
    }  # fmt: skip
    for stem in stems:
        assert {f"{stem}.png", f"{stem}.pdf", f"{stem}.csv"} <= names
    for path in written:
        if path.suffix == ".png":
            assert np.asarray(Image.open(path).convert("L")).std() > 5
    data = rows_of(tmp_path / "f" / "quality-vs-cbr_awgn_snr-10.csv")
    measured = [r for r in data if r["source"] == "measured"]
    assert len(measured) == 5 * 2
    mine = next(r for r in measured if r["scheme"] == "mine")
    assert (mine["pictures"], mine["missing"]) == ("1", "1")
    published = {(r["scheme"], r["psnr_db"]) for r in data if r["source"] != "measured"}
    assert ("DeepJSCC", "27.45") in published


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_the_sheet_of_a_region_measures_both_pictures_inside_and_outside(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    for one in folder.rows():
        mask = np.zeros((64, 96, 3), np.uint8)
        mask[16:48, 16:64] = 255
        path = folder.picture_path(one.key, ".roi.png")
        if path.exists():
            Image.fromarray(mask).save(path)
    sheet = next(p for p in draw_all(folder.path, tmp_path / "f") if p.name.startswith("roi_a"))
    favoured, plain = rows_of(sheet.with_suffix(".csv"))
    assert (favoured["scheme"], plain["scheme"]) == ("lrisc-roi", "lrisc")
    source = np.asarray(Image.open(folder.source_path("a.png")), float)[16:48, 16:64]
    for data in (favoured, plain):
        row = next(r for r in folder.rows() if r.scheme == data["scheme"] and r.image == "a.png")
        shown = np.asarray(Image.open(folder.picture_path(row.key, ".png")), float)[16:48, 16:64]
        expected = 10 * np.log10(255**2 / ((source - shown) ** 2).mean())
        assert float(data["psnr_inside_db"]) == pytest.approx(expected, abs=0.01)
        assert float(data["symbols_inside"]) == pytest.approx(np.eye(4, 6)[1:3, 1:4].mean() * 9)


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_sheets_show_the_first_draw_of_what_was_kept(tmp_path: Path) -> None:
    """Two sweeps with other seeds into one folder keep a picture each."""
    folder = results(tmp_path / "r", schemes=("lrisc", "lrisc-roi"))

    def regions(output: Path) -> list[bytes]:
        drawn = list(draw_all(folder.path, output, reference=False))
        assert len(drawn) == len(set(drawn))
        return [path.read_bytes() for path in sorted(output.glob("roi_*.png"))]

    before = regions(tmp_path / "before")
    for scheme in ("lrisc", "lrisc-roi"):
        other = replace(row(scheme, "a.png", 10.0, 1 / 48), seed=5, psnr_db=35.0)
        folder.append(other)
        for suffix in (".png", ".roi.png"):
            Image.new("RGB", (96, 64), "red").save(folder.picture_path(other.key, suffix))
        np.save(folder.picture_path(other.key, ".rate.npy"), np.eye(4, 6))
    assert regions(tmp_path / "after") == before


def test_pictures_of_one_stem_have_figures_of_their_own(tmp_path: Path) -> None:
    rows = [row("mine", image, 0.0, 1 / 48) for image in ("a.png", "a.jpg", "b.png")]
    assert _stems(rows) == {"a.png": "a-png", "a.jpg": "a-jpg", "b.png": "b"}


@pytest.mark.slow
def test_without_lpips_and_without_reference(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", lpips=None, schemes=("bpg-ldpc",))
    written = list(draw_all(folder.path, tmp_path / "f"))
    data = next(p for p in written if p.name == "quality-vs-cbr_awgn_snr-10.csv").read_text()
    assert "measured" in data
    assert "DeepJSCC" not in data


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results folder"):
        list(draw_all(tmp_path, tmp_path / "f"))
    folder = ResultsFolder(tmp_path / "r")
    folder.prepare({}, {"a.png": "1"}, {})
    with pytest.raises(InputError, match="no finished rows"):
        list(draw_all(folder.path, tmp_path / "f"))


@pytest.mark.parametrize("name", ["photo.jpg", "notes", "new.png", "new.PDF"])
def test_figures_go_into_a_folder_and_never_over_a_file(
    tmp_path: Path, name: str, run: Run
) -> None:
    folder = results(tmp_path / "r", schemes=("lrisc",))
    for mine in ("photo.jpg", "notes"):
        (tmp_path / mine).write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    told = run("plot", folder.path, "-o", tmp_path / name)
    assert told.code == 2
    assert told.err == (
        f"lrisc: {tmp_path / name} is no folder: several files are written, into a folder\n"
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_means_count_what_was_lost_and_what_is_missing() -> None:
    rows = [row("bpg-ldpc:16qam-2/3", image, 0.0, 1 / 48) for image in ("a.png", "b.png")]
    rows += [row("mine", image, 0.0, 1 / 48) for image in ("a.png", "b.png")]
    lost, mine = means(rows, 2)
    assert (lost.psnr_db, lost.outages, lost.missing) == (13.0, 2, 0)
    assert (mine.pictures, mine.missing) == (1, 1)


def test_means_and_bars_are_over_pictures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        replace(
            row("lrisc", image, snr_db, 1 / 48), seed=seed, psnr_db=20 + 4 * i + seed, lpips_vgg=0.3
        )
        for i, image in enumerate(("a.png", "b.png"))
        for snr_db in (0.0, 10.0)
        for seed in range(3)
    ]
    point = means(rows, 2)[0]
    assert (point.pictures, point.draws, point.missing, point.psnr_db) == (2, 6, 0, 23)
    # Each picture with all its draws: the ends are the two pictures' means.
    assert point.interval("psnr_db") == (21, 25)
    assert point.interval("lpips_vgg") == (0.3, 0.3)
    # One draw of b.png is not done: the mean is over the rest, and marked.
    assert means(rows[:-1], 2)[1].missing == 1
    drawn: list[Figure] = []

    def kept(figure: Figure, *_: Any) -> list[Path]:
        drawn.append(figure)
        return []

    monkeypatch.setattr(curves, "save", kept)
    list(curves.draw_versus_snr(means(rows, 2), [], tmp_path))
    title = drawn[0].get_suptitle()
    assert "mean of 2 pictures, 3 draws each, bars: 95 % bootstrap over pictures and draws" in title
    labels = [axes.get_ylabel() for axes in drawn[0].axes]
    assert labels == ["PSNR (dB)", "LPIPS (lower is better)", "LPIPS-VGG (lower is better)"]


def test_schemes_are_told_apart() -> None:
    names = [*SCHEMES, "deepjscc", "deepjscc-per-snr", "bpg-capacity", *(f"x{i}" for i in range(8))]
    shown = looks(names)
    assert len({(s.colour, s.marker, s.line) for s in shown.values()}) == len(names)
    assert display_name("lrisc:/long/path/final") == "LRISC, final"
    assert display_name("bpg-ldpc:16qam-2/3") == "BPG + LDPC, 16QAM-2/3"
    assert [fraction(1 / 48), fraction(0.017)] == ["1/48", "0.017"]


def test_published_curves_have_sources() -> None:
    curves = load_curves()
    assert {curve.name for curve in curves} >= {"DeepJSCC", "BPG + LDPC", "SwinJSCC", "NTSCC"}
    for curve in curves:
        assert curve.source
        assert len(curve.points) > 1
        json.dumps(curve.points)
    assert sum(curve.fits("cbr", "psnr_db", "awgn", 10.0) for curve in curves) == 5


@pytest.mark.slow
def test_lost_pictures_have_a_panel_and_the_waveform_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def keep(figure: Figure, *rest: Any) -> list[Path]:
        drawn.append(figure)
        return save(figure, *rest)

    monkeypatch.setattr(curves, "save", keep)
    folder = ResultsFolder(tmp_path / "r")
    settings = {"waveform": "ofdm"}
    folder.prepare(settings, {"a.png": "1", "b.png": "2"}, {"lrisc": ""})
    for image in ("a.png", "b.png"):
        for snr_db in (0.0, 10.0):
            lost = (image, snr_db) == ("a.png", 0.0)
            status = "outage" if lost else "sent"
            folder.append(
                Row(
                    "lrisc", image, "tdl-a", snr_db, 1 / 48, 0, status, lost, 20.0, 0.9, 0.2, None,
                    0.02, 0.024, 0.029, 0.1,
                )
            )  # fmt: skip
    data = next(p for p in draw_all(folder.path, tmp_path / "f") if p.suffix == ".csv")
    assert drawn[0].get_suptitle().startswith("TDL-A, waveform ofdm, CBR 1/48")
    lost_share = drawn[0].axes[2].lines[0]
    assert list(map(list, lost_share.get_xydata())) == [[0.0, 0.5], [10.0, 0.0]]
    first = rows_of(data)[0]
    assert (first["outages"], first["pictures"]) == ("1", "2")
    assert (float(first["cbr_grid"]), float(first["cbr_on_air"])) == (0.024, 0.029)


@pytest.mark.slow
def test_the_papers_number_stands_beside_ours(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path / "r")
    folder.prepare({}, {"a.png": "1"}, {"lrisc": "", "deepjscc": ""})
    for scheme, lpips in (("lrisc", (0.2, 0.1)), ("deepjscc", (0.4, 0.4))):
        for snr_db, value in zip((0.0, 10.0), lpips, strict=True):
            numbers = (25.0, 0.9, value, None, 0.02, 0.02, 0.02, 0.1)
            folder.append(Row(scheme, "a.png", "awgn", snr_db, 1 / 48, 0, "sent", False, *numbers))
    name = "lpips-below-deepjscc_awgn_cbr-1-48"
    assert name not in {p.stem for p in draw_all(folder.path, tmp_path / "without")}
    drawn = list(draw_all(folder.path, tmp_path / "f", reference=True))
    data = next(p for p in drawn if p.name == f"{name}.csv")
    below = [float(line["lpips_below_deepjscc_percent"]) for line in rows_of(data)]
    assert below == pytest.approx([50, 75, 43.3])


def test_the_data_of_a_figure_keeps_names_that_are_no_text(tmp_path: Path) -> None:
    name = "caf\udce9.png"
    data = save(Figure((2, 1)), tmp_path, "sheet", ["picture", "psnr"], [[name, 20.5]])[2]
    assert data.read_bytes() == b"picture,psnr\ncaf\xe9.png,20.5\n"


@pytest.mark.slow
def test_schemes_are_chosen_and_a_crop_is_zoomed(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    choice = Choice(("bpg-ldpc", "lrisc"), crop=(8, 16, 32, 24), width=3.5)
    written = list(draw_all(folder.path, tmp_path / "f", choice=choice))
    grid, zoom = (tmp_path / "f" / f"{kind}_a_awgn_cbr-1-48.csv" for kind in ("grid", "zoom"))
    assert {grid, zoom} <= set(written)
    for data in (grid, zoom):
        assert list(dict.fromkeys(row["scheme"] for row in rows_of(data))) == ["bpg-ldpc", "lrisc"]
    for picture in (path for path in written if path.suffix == ".png"):
        with Image.open(picture) as shown:
            assert shown.width == pytest.approx(3.5 * 160, abs=1), picture.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(("lrisc", "jpeg")), "no rows of jpeg, only of lrisc"),
        (Choice(("lrisc",), crop=(90, 0, 32, 24)), "no picture that was kept holds the box"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(tmp_path: Path, choice: Choice, message: str) -> None:
    folder = results(tmp_path / "r", schemes=("lrisc",))
    with pytest.raises(InputError, match=message):
        list(draw_all(folder.path, tmp_path / "f", choice=choice))


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("shape", [(192, 64), (64, 192)])
@pytest.mark.parametrize("snrs", [(10.0,), (0.0, 10.0)])
def test_sheets_are_as_large_as_their_pictures(
    tmp_path: Path, shape: tuple[int, int], snrs: tuple[float, ...]
) -> None:
    folder = ResultsFolder(tmp_path / "r")
    folder.prepare({}, {"a.png": "1"}, {})
    for snr_db in snrs:
        one = row("lrisc", "a.png", snr_db, 1 / 48)
        folder.append(one)
        for kept in (folder.picture_path(one.key, ".png"), folder.source_path("a.png")):
            kept.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (shape[1], shape[0])).save(kept)
        np.save(folder.picture_path(one.key, ".rate.npy"), np.eye(shape[0] // 16, shape[1] // 16))
    sheets_drawn = [p for p in draw_all(folder.path, tmp_path / "f") if p.suffix == ".png"]
    assert [p.name.split("_")[0] for p in sheets_drawn] == ["grid", "rate-map"]
    for path in sheets_drawn:
        ink = np.asarray(Image.open(path).convert("L")) < 255
        for axis, name in ((0, "columns"), (1, "rows")):
            used = np.flatnonzero(ink.any(axis))
            margins = used[0], ink.shape[1 - axis] - 1 - used[-1]
            assert max(margins) <= 40, (path.name, name, margins)  # a quarter of an inch


@pytest.mark.parametrize("wrong", [{"crop": (0, 0, 0, 5)}, {"crop": (-1, 0, 5, 5)}, {"width": 0.5}])
def test_what_no_figure_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"--crop is|--width is"):
        Choice(**wrong)


def test_a_sheet_has_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results(tmp_path / "r", schemes=("lrisc", "bpg-ldpc"))
    titles: list[str] = []

    def kept(figure: Any, _folder: Path, name: str, *_: object) -> list[Path]:
        if name.startswith("grid"):
            titles.extend(axes.get_title() for axes in figure.axes if axes.get_visible())
        return []

    monkeypatch.setattr(sheets, "save", kept)
    list(sheets.draw_grids(folder, folder.rows(), tmp_path / "f", Choice()))
    assert titles.count("source") == 1
    assert len(titles) == 1 + 2 * 3
