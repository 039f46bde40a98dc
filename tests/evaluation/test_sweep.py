"""Sweeps: resumed, sharded and parallel ones give the same rows; bad input is told."""

import os
import re
import signal
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers import Run, picture, rows_of
from torch import Tensor

from lrisc.errors import InputError
from lrisc.evaluation.figures import draw_all
from lrisc.evaluation.measure_row import scheme_of
from lrisc.evaluation.plan import Sweep, find_pictures, seed_of
from lrisc.evaluation.results import ROWS_FILE, ResultsFolder, Row
from lrisc.evaluation.schemes import SCHEMES, Condition, Options, Picture, create_scheme
from lrisc.evaluation.schemes import lrisc as schemes_lrisc
from lrisc.evaluation.sweep import run as sweep_over
from lrisc.evaluation.workers import _still_pending
from lrisc.images import load_image, to_pil
from lrisc.link import fec
from lrisc.metrics import lpips, lpips_weights
from lrisc.metrics.lpips import Lpips, published_lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights
from lrisc.models.config import Steering
from lrisc.refinement.objective import Distortion, ObjectiveName
from lrisc.roi import detectors

PLUGIN = "tests.evaluation.grey_scheme"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        to_pil(picture(64, 80, i)).save(folder / f"p{i}.png")
    return folder


@pytest.fixture
def evaluate(run: Run, pictures: Path) -> Run:
    """``lrisc evaluate`` of the pictures."""
    return lambda *arguments: run("evaluate", pictures, *arguments)


def grey(*arguments: object) -> list[object]:
    return ["--schemes", "grey", "--plugin", PLUGIN, "--jobs", 1, *arguments]


def table(folder: Path) -> list[dict[str, str]]:
    rows = rows_of(folder / ROWS_FILE)
    for row in rows:
        del row["seconds"]
    return rows


@pytest.mark.slow
def test_stopped_and_run_again_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run
) -> None:
    what = grey("--snr", "0,10", "--cbr", "1/48,1/24")
    assert evaluate(*what, "-o", tmp_path / "whole").code == 0
    monkeypatch.setenv("GREY_STOPS_AT", "p1.png")
    assert evaluate(*what, "-o", tmp_path / "halves").code == 130
    assert len(table(tmp_path / "halves")) == 4
    with (tmp_path / "halves" / ROWS_FILE).open("a") as file:
        file.write("grey,p1.png,aw")
    monkeypatch.delenv("GREY_STOPS_AT")
    seen: list[Row] = []
    append = ResultsFolder.append
    monkeypatch.setattr(
        ResultsFolder, "append", lambda self, row: (seen.append(row), append(self, row))
    )
    assert evaluate(*what, "-o", tmp_path / "halves").code == 0
    assert len(seen) == 8
    assert table(tmp_path / "halves") == table(tmp_path / "whole")
    assert evaluate(*what, "-o", tmp_path / "halves").code == 0
    assert len(seen) == 8


@pytest.mark.slow
def test_processes_and_shards_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run
) -> None:
    what = grey("--snr", "0,10", "--cbr", "1/48")
    assert evaluate(*what, "-o", tmp_path / "one").code == 0
    assert evaluate(*what, "-o", tmp_path / "two", "--jobs", 2).code == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert evaluate(*what, "-o", tmp_path / "shards").code == 0
    rows = table(tmp_path / "one")
    assert len(rows) == 6
    assert len({row["psnr_db"] for row in rows}) == 6
    assert table(tmp_path / "two") == rows
    assert table(tmp_path / "shards") == rows


@pytest.mark.parametrize(("rank", "count"), [("0", "0"), ("5", "2"), ("-1", "2"), ("x", "2")])
def test_a_share_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run, rank: str, count: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    told = evaluate(*grey("--snr", "10"), "-o", tmp_path / "out")
    assert told.code == 2
    assert "WORLD_SIZE" in told.err


def test_a_log_gets_a_line_for_every_row(tmp_path: Path, evaluate: Run) -> None:
    told = evaluate(*grey("--snr", "10"), "-o", tmp_path / "out")
    assert told.code == 0
    lines = [line for line in told.err.splitlines() if " of 3" in line]
    assert [re.sub(r"\d:\d\d:\d\d", "TIME", line) for line in lines] == [
        f"{i} of 3: grey 10 dB p{i - 1}.png, TIME left" for i in (1, 2, 3)
    ]


def test_a_system_that_does_not_tell_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run
) -> None:
    """As macOS; there was an AttributeError."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    what = ("--schemes", "grey", "--plugin", PLUGIN, "--snr", "10", "-o", tmp_path / "out")
    assert evaluate(*what).code == 0


def test_rows_over_ofdm_of_0_7_are_not_mixed_with_others(tmp_path: Path) -> None:
    settings = Sweep(("lrisc",), (10.0,), (1 / 48,), waveform="ofdm").settings()
    folder = ResultsFolder(tmp_path / "results")
    folder.prepare({k: v for k, v in settings.items() if k != "energy"}, {}, {})
    with pytest.raises(InputError, match="energy"):
        folder.prepare(settings, {}, {})


def test_every_row_has_its_own_seed() -> None:
    keys = Sweep(("a", "b"), (0.0, 10.0), (1 / 48, 1 / 24), seed=7, seeds=3).keys("p.png")
    seeds = {key: seed_of(key) for key in keys}
    assert len(seeds) == 24
    assert len(set(seeds.values())) == 12  # the same noise for both schemes
    assert all(0 <= seed < 1 << 63 for seed in seeds.values())


@pytest.mark.slow
def test_a_sweep_with_seeds_has_rows_for_each_and_goes_on_with_more(
    tmp_path: Path, evaluate: Run
) -> None:
    what = grey("--snr", "0,10", "--cbr", "1/48", "--limit", 2, "--keep", 1)
    assert evaluate(*what, "-o", tmp_path / "one").code == 0
    assert evaluate(*what, "-o", tmp_path / "all", "--seeds", 3).code == 0
    one, every = table(tmp_path / "one"), table(tmp_path / "all")
    assert [row["seed"] for row in every] == ["0", "0", "1", "1", "2", "2"] * 2
    assert [row for row in every if row["seed"] == "0"] == one
    assert len({row["psnr_db"] for row in every}) == 12
    # The pictures of one draw are enough to see.
    assert len(list((tmp_path / "all" / "pictures" / "grey").iterdir())) == 2
    assert evaluate(*what, "-o", tmp_path / "one", "--seeds", 3).code == 0
    assert table(tmp_path / "one") == every


@pytest.mark.slow
def test_lpips_with_vgg_stands_beside_that_with_alexnet(tmp_path: Path, evaluate: Run) -> None:
    try:
        vgg, alex = (Lpips.from_weights(backbone) for backbone in ("vgg", "alex"))
    except LpipsUnavailableError:
        pytest.skip("no LPIPS weights on this machine")
    what = grey("--snr", "0,10", "--cbr", "1/48", "--limit", 2, "--keep", 2)
    assert evaluate(*what, "--lpips-vgg", "-o", tmp_path / "r").code == 0
    folder = ResultsFolder(tmp_path / "r")
    for row in folder.rows():
        kept = (folder.source_path(row.image), folder.picture_path(row.key, ".png"))
        source, shown = (2 * load_image(path)[None] - 1 for path in kept)
        assert row.lpips_vgg == pytest.approx(float(vgg(source, shown)), abs=1e-5)
        assert row.lpips == pytest.approx(float(alex(source, shown)), abs=1e-5)
    # Rows with and without it are not mixed.
    assert evaluate(*what, "-o", tmp_path / "r").code == 2


def test_without_the_weights_of_vgg_its_column_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run
) -> None:
    what = grey("--snr", "10", "--cbr", "1/48", "--limit", 1, "--lpips-vgg")
    with monkeypatch.context() as patch:
        patch.setattr(lpips, "resolve_weights", missing_vgg)
        patch.setattr(lpips_weights, "resolve_weights", missing_vgg)
        published_lpips.cache_clear()
        done = evaluate(*what, "-o", tmp_path / "r")
    assert done.code == 0
    assert "the lpips_vgg column stays empty: none here" in done.err
    (row,) = ResultsFolder(tmp_path / "r").rows()
    assert (row.status, row.lpips_vgg) == ("sent", None)

    # Once the weights are here the row is measured again.
    published_lpips.cache_clear()
    assert evaluate(*what, "-o", tmp_path / "r").code == 0
    (again,) = ResultsFolder(tmp_path / "r").rows()
    assert again.lpips_vgg is not None
    assert replace(again, lpips_vgg=None, seconds=row.seconds) == row


def missing_vgg(backbone: str, path: Path | None = None) -> dict[str, Tensor]:
    if backbone == "vgg":
        raise LpipsUnavailableError("none here")
    return resolve_weights(backbone, path)


def test_outages_and_impossible_rows_are_marked(tmp_path: Path, evaluate: Run) -> None:
    what = grey("--snr=-10,10", "--cbr", "1/48,0.0005", "--limit", 1, "-o", tmp_path / "r")
    assert evaluate(*what).code == 0
    rows = {(r["snr_db"], r["cbr_target"]): r for r in table(tmp_path / "r")}
    assert len(rows) == 4
    lost = rows["-10", "0.02083333333"]
    assert (lost["status"], lost["outage"]) == ("outage", "true")
    # the score of a mid-grey picture
    assert 5 < float(lost["psnr_db"]) < 20
    impossible = rows["10", "0.0005"]
    assert (impossible["status"], impossible["outage"]) == ("impossible", "false")
    assert impossible["psnr_db"] == impossible["cbr"] == ""
    assert "too small" in impossible["note"]
    sent = rows["10", "0.02083333333"]
    assert float(sent["cbr"]) == pytest.approx(1 / (3 * 64 * 80), abs=1e-8)


def test_unreadable_pictures_are_told_and_skipped(
    pictures: Path, tmp_path: Path, evaluate: Run
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    (pictures / "p1.jpg").write_bytes((pictures / "p1.png").read_bytes()[:200])
    (pictures / "notes.txt").write_text("no picture at all")
    Image.new("RGB", (20, 20)).save(pictures / "small.png")
    told = evaluate(*grey("--snr", 10, "-o", tmp_path / "r"))
    assert told.code == 0
    assert told.err.count("skipped:") == 3
    assert "warnings: 3 pictures skipped" in told.err
    assert [row["image"] for row in table(tmp_path / "r")] == ["p0.png", "p1.png", "p2.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--schemes", "morse"], "unknown scheme"),
        (["--schemes", ","], "names nothing"),
        (["--schemes", "lrisc:nowhere"], "no checkpoint"),
        (["--schemes", "lrisc-roi"], "needs --roi"),
        (["--schemes", "lrisc-roi", "--roi", "nowhere.png"], "cannot read the mask"),
        (["--schemes", "lrisc-roi", "--roi", "rembg:"], "cannot read the mask"),
        (["--schemes", "lrisc-roi", "--roi", "auto", "--roi-strength", "2"], "roi strength"),
        (["--schemes", "bpg-ldpc:8psk-1/2"], "modulation and coding"),
        (["--schemes", "bpg-capacity:best"], "no variants"),
        (["--snr", "loud"], "not a number"),
        (["--snr", "nan"], "SNR"),
        (["--cbr", "2"], "cbr"),
        (["--cbr", "1/0"], "cbr"),
        (["--channel", "wire"], "unknown channel"),
        (["--jobs", "0"], "--jobs"),
        (["--limit", "0"], "--limit"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--seeds", "1001"], "--seeds must be at most 1000"),
        (["--seed", str(2**63 - 1), "--seeds", "2"], "seed"),
        (["--plugin", "no_such_module"], "plugin"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], word: str, tmp_path: Path, evaluate: Run
) -> None:
    told = evaluate(*grey(*arguments, "-o", tmp_path / "r"))
    assert told.code == 2
    errors = [line for line in told.err.splitlines() if line.startswith("lrisc:")]
    assert len(errors) == 1
    assert word in errors[0]


def test_folders_that_are_no_use(pictures: Path, tmp_path: Path, run: Run) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    old = tmp_path / "old"
    old.mkdir()
    (old / "sweep.json").write_text('{"format": 0, "lrisc_version": "0.0.1"}')
    for data, output, word in (
        (empty, tmp_path / "r", "no pictures"),
        (tmp_path / "none", tmp_path / "r", "not a folder"),
        (pictures / "p0.png", tmp_path / "r", "not a folder"),
        (pictures, old, "another version"),
        (pictures, pictures / "p0.png", "cannot write"),
    ):
        told = run("evaluate", data, *grey("-o", output))
        assert told.code == 2
        assert word in told.err
    (empty / "x.png").write_text("")
    with pytest.raises(InputError, match="1 cannot be read"):
        find_pictures(empty, None, 0)


@pytest.mark.parametrize(
    ("data", "output"),
    [("p", "p"), ("p", "p/../p"), ("r/pictures", "r"), ("r/pictures/source", "r")],
)
def test_results_never_go_into_the_folder_of_the_pictures(
    pictures: Path, tmp_path: Path, data: str, output: str, no_networks: None, run: Run
) -> None:
    (tmp_path / data).parent.mkdir(parents=True, exist_ok=True)
    pictures.rename(tmp_path / data)
    before = sorted(tmp_path.rglob("*"))
    told = run("evaluate", tmp_path / data, *grey("-o", tmp_path / output))
    assert told.code == 2
    assert "holds what this command reads: choose another folder" in told.err
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_names_need_not_be_text_and_a_fifo_is_no_picture(
    pictures: Path, tmp_path: Path, evaluate: Run
) -> None:
    strange = os.fsdecode(b"p\xff.png")
    try:
        (pictures / "p0.png").rename(pictures / strange)
    except OSError:
        pytest.skip("this file system takes text only")
    os.mkfifo(pictures / "a.png")
    signal.alarm(600)  # whoever opens it waits for ever
    # Half of it, and the rest: rows of such names are found again.
    for snr in ("0", "0,10"):
        what = grey("--snr", snr, "--cbr", "1/48", "--keep", 1, "-o", tmp_path / "r")
        assert evaluate(*what).code == 0
    signal.alarm(0)
    rows = ResultsFolder(tmp_path / "r").rows()
    assert sorted(row.image for row in rows) == sorted(["p1.png", "p2.png", strange] * 2)
    assert list(draw_all(tmp_path / "r", tmp_path / "figures"))


@pytest.mark.slow
def test_our_own_schemes(pictures: Path, tmp_path: Path, tiny_folder: Path) -> None:
    pytest.importorskip("pillow_heif")
    assert {"lrisc", "lrisc-roi", "deepjscc", "bpg-ldpc", "bpg-capacity"} <= set(SCHEMES)
    ours = (f"lrisc:{tiny_folder}", f"lrisc-roi:{tiny_folder}")
    sweep = Sweep(
        (*ours, "bpg-ldpc", "bpg-ldpc:qpsk-2/3", "bpg-capacity"), (0.0, 10.0), (1 / 8,),
        options=Options(roi="8,8,32,32", roi_strength=0.3), keep=1,
    )  # fmt: skip
    sources, _ = find_pictures(pictures, 1, sweep.keep)
    folder = ResultsFolder(tmp_path / "r")
    sweep_over(sweep, sources, folder)
    rows = {(row.scheme, row.snr_db): row for row in folder.rows()}
    assert len(rows) == 10
    for row in rows.values():
        assert row.cbr is None or row.cbr <= 1 / 8
    for snr_db in (0.0, 10.0):
        best, adaptive = rows["bpg-capacity", snr_db], rows["bpg-ldpc", snr_db]
        assert best.psnr_db is not None
        assert adaptive.psnr_db is not None
        assert adaptive.psnr_db < best.psnr_db
    assert rows["bpg-ldpc:qpsk-2/3", 0.0].status == "outage"
    assert rows["bpg-ldpc:qpsk-2/3", 10.0].status == "sent"
    assert rows[ours[0], 10.0].status == "sent"
    assert folder.picture_path(rows[ours[0], 10.0].key, ".rate.npy").exists()
    favoured = rows[ours[1], 10.0]
    assert folder.picture_path(favoured.key, ".roi.png").exists()
    assert favoured.symbols_inside is not None
    assert favoured.symbols_outside is not None
    assert favoured.symbols_inside > favoured.symbols_outside
    assert None not in (favoured.psnr_inside_db, favoured.psnr_outside_db)
    assert rows[ours[0], 10.0].symbols_inside is None
    assert rows["bpg-ldpc", 10.0].psnr_inside_db is None


@pytest.mark.slow
def test_what_a_region_depends_on_is_told_apart(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(steering: Steering | None = None) -> str:
        options = Options(roi="auto", roi_steering=steering)
        return create_scheme(f"lrisc-roi:{tiny_folder}", options).fingerprint

    before = fingerprint()
    assert "steering power" in before
    monkeypatch.setattr(detectors, "detector_version", lambda name: "another")
    changed = fingerprint()
    assert changed != before
    assert fingerprint("rate") != changed


def test_a_plugin_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Run
) -> None:
    source = Path(__file__).with_name("grey_scheme.py").read_text()
    (tmp_path / "my_scheme.py").write_text(source.replace('"grey"', '"mine"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    what = ["--schemes", "mine", "--plugin", "my_scheme", "--jobs", 1, "--snr", 0, "--cbr", "1/48"]
    assert evaluate(*what, "-o", tmp_path / "r").code == 0


def test_a_region_without_a_scheme_for_it_is_warned_of(tmp_path: Path, evaluate: Run) -> None:
    what = grey("--snr", 0, "--cbr", "1/48", "--roi", "auto")
    told = evaluate(*what, "-o", tmp_path / "r")
    assert told.code == 0
    assert "--roi is for the scheme lrisc-roi" in " ".join((told.out + told.err).split())


def test_a_worker_s_error_ends_the_sweep() -> None:
    class Slow(Future[None]):
        """Fails between two looks at it."""

        looks = 0

        def done(self) -> bool:
            self.looks += 1
            if self.looks == 2:
                self.set_exception(ValueError("lost"))
            return self.looks > 1

    slow = Slow()
    assert _still_pending({slow}) == {slow}
    with pytest.raises(ValueError, match="lost"):
        _still_pending({slow})


@pytest.mark.slow
def test_masks_by_the_picture_s_name(pictures: Path, tmp_path: Path, tiny_folder: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = Image.new("L", (80, 64))
    mask.paste(255, (10, 10, 50, 50))
    mask.save(masks / "p1.png")
    scheme = f"lrisc-roi:{tiny_folder}"
    sweep = Sweep((scheme,), (10.0,), (1 / 8,), options=Options(roi=str(masks)), keep=0)
    folder = ResultsFolder(tmp_path / "r")
    sweep_over(sweep, find_pictures(pictures, 2, 0)[0], folder)
    assert [row.status for row in folder.rows()] == ["impossible", "sent"]
    assert "no mask named p0" in folder.rows()[0].note
    mask.paste(255, (0, 0, 8, 8))
    mask.save(masks / "p1.png")
    scheme_of.cache_clear()  # another process would read the masks anew
    with pytest.raises(InputError, match="by another lrisc-roi"):
        sweep_over(sweep, find_pictures(pictures, 2, 0)[0], folder)


def test_what_was_impossible_is_tried_again(pictures: Path, tmp_path: Path) -> None:
    sweep = Sweep(("grey",), (10.0,), (1 / 48,), plugins=(PLUGIN,), keep=0)
    folder = ResultsFolder(tmp_path / "r")
    sources, _ = find_pictures(pictures, 2, 0)
    sweep_over(sweep, sources, folder)
    before = folder.rows()
    numbers = ("psnr_db", "ms_ssim", "lpips", "lpips_vgg", "cbr", "cbr_grid", "cbr_on_air")
    gone = replace(before[0], status="impossible", **dict.fromkeys(numbers))
    folder.append(gone)
    counted: list[tuple[int, int]] = []
    sweep_over(sweep, sources, folder, on_plan=lambda *plan: counted.append(plan))
    assert counted == [(2, 1)]
    assert [replace(r, seconds=0.0) for r in folder.rows()] == [
        replace(r, seconds=0.0) for r in before
    ]

    # With other settings nothing is added.
    with pytest.raises(InputError, match="lpips_vgg False, this sweep has True"):
        sweep_over(replace(sweep, lpips_vgg=True), sources, folder)


def test_deepjscc_by_bandwidth_and_by_snr() -> None:
    sent = Picture("p.png", picture(64, 64))
    for name, model in (("deepjscc", "1-48"), ("deepjscc-per-snr", "1-48-10db")):
        delivery = create_scheme(name, Options()).send(sent, Condition("awgn", 9.0, 1 / 48, 0))
        assert delivery.symbols == 256
        assert delivery.note == f"model deepjscc-{model}"


def test_rows_of_another_objective_or_of_other_codes_are_not_mixed(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(objective: ObjectiveName) -> str:
        options = Options(effort=2, objective=objective)
        return create_scheme(f"lrisc-effort:{tiny_folder}", options).fingerprint

    monkeypatch.setattr(schemes_lrisc, "objective", lambda name, device: Distortion(1.2))
    before = fingerprint("distortion")
    assert "without LPIPS" not in before
    assert "effort 2 perception without LPIPS" in fingerprint("perception")
    monkeypatch.setattr(schemes_lrisc, "MCS_TABLE", fec.MCS_TABLE[:9])
    assert fingerprint("distortion") != before


@pytest.mark.slow
def test_effort_is_a_scheme_of_its_own(tiny_folder: Path) -> None:
    """Both rows stand in one table, and rows of another effort are not taken for these."""
    plain = create_scheme(f"lrisc:{tiny_folder}", Options(effort=2, objective="distortion"))
    tried = create_scheme(f"lrisc-effort:{tiny_folder}", Options(effort=2, objective="distortion"))
    assert "effort 2 distortion" in tried.fingerprint
    assert "effort" not in plain.fingerprint
    sent = [
        s.send(Picture("a", picture(96, 96)), Condition("awgn", 10, 1 / 12, 0))
        for s in (plain, tried)
    ]
    assert sent[0].symbols == sent[1].symbols
    assert sent[0].reconstruction is not None
    assert sent[1].reconstruction is not None
    assert not bool((sent[0].reconstruction == sent[1].reconstruction).all())
    with pytest.raises(InputError, match="needs --effort"):
        create_scheme(f"lrisc-effort:{tiny_folder}", Options())
