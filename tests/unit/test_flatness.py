"""Flatness of runs: measurements kept in their folders, comparison in words, surfaces and their pictures."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from msam_bench.analysis.flatness.comparison import FlatnessComparison, compare, rows
from msam_bench.analysis.flatness.matching import losses, matched
from msam_bench.analysis.flatness.measurement import ALONE, JOINT, Measurement, batches, measured
from msam_bench.analysis.flatness.measures import MEASURES, SCORE, TAU, Plan
from msam_bench.analysis.flatness.surfaces import Grid, LossSurface, as_csv, chosen, surfaces
from msam_bench.analysis.flatness.trajectories import trajectories
from msam_bench.analysis.sentences.flatness import answer, correlations, details
from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from msam_bench.reporting.figures.contours import contour_poster, contours
from msam_bench.reporting.figures.loss_curves import loss_curves
from msam_bench.reporting.figures.loss_scale import LossScale
from msam_bench.reporting.figures.plotting import Drawing
from msam_bench.reporting.figures.ratios import ratios
from msam_bench.reporting.figures.relief import relief
from msam_bench.reporting.landscapes import landscapes
from msam_bench.reporting.study_page import write_study
from msam_bench.runs import fit
from msam_bench.runs import record as runs
from msam_bench.runs.restore import restored
from msam_bench.studies.flatness import FlatnessMeasurements, conclude

SMALL = Plan(samples=24, steps=2, pairs=2, products=6)
SETTINGS: dict[str, Any] = {"epochs": 2, "hidden": 8, "features": 8, "batch_size": 256, "snapshots": 1}
SHOWN = ("ball", "eigenvalue", "trace")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two methods on one seed, two epochs each, with snapshots."""
    folder = tmp_path_factory.mktemp("flatness") / "runs"
    for method in ("joint", "msam"):
        fit.run(resolve("smartwatch", "late", method, seed=0, **SETTINGS), folder)
    return folder


@pytest.fixture
def trained(root: Path) -> list[runs.RunRecord]:
    return runs.records([root])


# ---- restoring and measuring ----------------------------------------------------------------------------------------


def test_a_restored_run_tests_as_it_did(trained: list[runs.RunRecord]) -> None:
    objective, dataset = restored(trained[0])
    test = dataset.splits["test"]
    hits = (objective.logits(test.inputs).argmax(-1) == test.target).double().mean()
    assert float(hits) == pytest.approx(trained[0].summary["test_accuracy"])


def test_a_run_that_cannot_be_restored_is_refused(trained: list[runs.RunRecord]) -> None:
    with pytest.raises(ValueError, match="Expected a finished run"):
        restored(replace(trained[0], status="failed"))
    with pytest.raises(ValueError, match="have changed since"):
        restored(replace(trained[0], data={**trained[0].data, "fingerprint": "other"}))


def test_methods_of_a_seed_are_measured_on_the_same_samples(trained: list[runs.RunRecord]) -> None:
    (_, [(one, target)]), (_, [(other, again)]) = (batches(record, 24, 0) for record in trained)
    assert len(target) == 24
    assert torch.equal(target, again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_measurements_are_made_once_a_plan_and_kept(trained: list[runs.RunRecord], monkeypatch: Any) -> None:
    record = trained[0]
    first = measured(record, SMALL)
    names = record.data["modalities"]
    sites = {(one.view, one.block) for one in first}
    assert sites == {(JOINT, block) for block in ("all", *names, "fusion")} | {(ALONE, name) for name in names}
    assert len(first) == len(sites) * len(MEASURES) + len(names) + 2
    assert all(math.isfinite(one.value) for one in first)
    stated = {one.block: one.value for one in first if one.measure == SCORE}
    assert stated["all"] == pytest.approx(record.summary["test_accuracy"])
    assert {name: stated[name] for name in names} == pytest.approx(
        {name: record.summary["coalitions"][name] for name in names}
    )
    (tau,) = [one.value for one in first if one.measure == TAU]
    assert tau == pytest.approx(record.summary["tau"])
    monkeypatch.setitem(MEASURES, "loss", ("loss", lambda it, plan: (7.0, 0.0, "")))
    assert measured(record, SMALL) == first
    changed = measured(record, replace(SMALL, rho=0.1))
    assert {one.value for one in changed if one.measure == "loss"} == {7.0}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"value": ', '"value": "x', 1).replace(",", '",', 1),
        lambda text: text.replace('"value"', '"worth"'),
        lambda text: text.replace(': "all"', ": 3"),
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "\0",
    ],
)
def test_damaged_measurements_are_made_again(trained: list[runs.RunRecord], monkeypatch: Any, damage: Any) -> None:
    monkeypatch.setattr("msam_bench.analysis.flatness.measurement._sites", lambda *_: [])  # scores are enough, and fast
    path = trained[0].folder / "flatness.json"
    first = measured(trained[0], replace(SMALL, seed=5))
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    assert measured(trained[0], replace(SMALL, seed=5)) == first
    assert path.read_text() == whole


def test_what_cannot_be_measured_is_kept_with_its_reason(trained: list[runs.RunRecord], monkeypatch: Any) -> None:
    def refuse(it: Any, plan: Plan) -> Any:
        raise ValueError("no such number here")

    monkeypatch.setitem(MEASURES, "trace", ("trace", refuse))
    for _ in range(2):
        found = [one for one in measured(trained[1], replace(SMALL, seed=3)) if one.measure == "trace"]
        assert all(math.isnan(one.value) and one.note == "no such number here" for one in found)


# ---- at equal loss --------------------------------------------------------------------------------------------------


def test_snapshots_are_measured_as_their_epochs_were(trained: list[runs.RunRecord]) -> None:
    record = trained[0]
    found = losses(record, replace(SMALL, samples=10**6))
    objective, dataset = restored(record, 2)
    inputs, target = dataset.splits["train"].take(slice(None))
    assert list(found) == [0, 1, 2]
    assert found[2] == pytest.approx(float(objective.loss(objective.logits(inputs), target)), rel=1e-5)
    accuracy = float((objective.logits(inputs).argmax(-1) == target).double().mean())
    assert accuracy == pytest.approx(record.metrics[1]["train_accuracy"])
    assert measured(record, SMALL, 1) != measured(record, SMALL, 2) == measured(record, SMALL, 2)


def test_runs_are_met_where_their_losses_are_nearest(trained: list[runs.RunRecord], monkeypatch: Any) -> None:
    told = {"joint": {0: 2.0, 1: 0.5, 2: 0.1}, "msam": {0: 2.0, 1: 1.0, 2: 0.4}}
    monkeypatch.setattr("msam_bench.analysis.flatness.matching.losses", lambda record, plan: told[record.label])
    with ThreadPoolExecutor(1) as executor:
        found = matched(trained, SMALL, executor)
    assert {folder.name.split("-")[2]: epoch for folder, epoch in found.items()} == {"joint": 1, "msam": 2}


def test_runs_without_snapshots_cannot_be_met(trained: list[runs.RunRecord], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(trained[0].folder, bare, ignore=shutil.ignore_patterns("snapshots"))
    record = runs.read(bare)
    with pytest.raises(ValueError, match="found none with a finite loss; train with snapshots"):
        losses(record, SMALL)
    with pytest.raises(ValueError, match=r"A path needs 3 snapshots, .* has 0; train with --snapshots 1"):
        trajectories([record], Grid(points=3, samples=24))
    with pytest.raises(ValueError, match=r"Expected a checkpoint at .*snapshots/000001\.ckpt"):
        measured(record, replace(SMALL, seed=4), 1)


# ---- many runs ------------------------------------------------------------------------------------------------------


def record(label: str, seed: int) -> runs.RunRecord:
    summary = {"contributions": {"audio": 0.6, "image": 0.3}}
    config = {"data": "made-up", "fusion": "late", "seed": seed, "features": 8, "hidden": 8, "encoders": {}}
    metrics = [{"dominant/audio": 0.7, "dominant/image": 0.3}] if label.startswith("msam") else []
    parts = {"data": {"modalities": ["audio", "image"]}, "environment": {}, "timing": {}, "metrics": metrics}
    return runs.RunRecord(Path(f"{label}-{seed}"), label, "finished", config, summary=summary, **parts)


def made_up(
    factor: float, alone: float = 0.5, noise: float = 0.05
) -> tuple[list[runs.RunRecord], dict[Path, list[Any]]]:
    """Eight seeds of two methods; under msam the image encoder is `factor` times as sharp."""
    generator = torch.Generator().manual_seed(1)
    records, found = [], {}
    for seed in range(8):
        for label in ("joint", "msam"):
            one = record(label, seed)
            jitter = float(torch.randn((), generator=generator).mul(noise).exp())
            own = {"all": 3.0, "audio": 2.0, "image": jitter * (factor if label == "msam" else 1), "fusion": 1.0}
            records.append(one)
            accuracy = {"all": 0.9 + seed / 1000, "audio": 0.8, "image": alone if label == "msam" else 0.5}
            found[one.folder] = [Measurement(JOINT, b, m, v, 0.1) for b, v in own.items() for m in ("loss", *SHOWN)]
            found[one.folder] += [Measurement(ALONE, b, SCORE, v, 0.01) for b, v in accuracy.items()]
    return records, found


@cache
def study_of(factor: float, alone: float = 0.5) -> FlatnessComparison:
    return compare(*made_up(factor, alone))


def test_sharper_non_dominant_encoders_are_seen_and_said() -> None:
    study = study_of(2.0, alone=0.4)
    assert set(study.dominant.values()) == {"audio"}
    assert math.exp(study.weaker["eigenvalue"]["msam"].difference) == pytest.approx(2, rel=0.1)
    assert answer(study).startswith(
        "By at least one measure, under msam the non-dominant encoders end sharper than under"
    )
    assert "Measured at the selected weights." in answer(study)
    (said,) = details(study)
    assert said.startswith("msam: the non-dominant encoders are sharper by ball (x 2.")
    assert "Alone, those modalities are less accurate (-10.00 points" in said
    assert "All modalities together are not shown to differ" in said
    assert said.endswith("Its training loss is x 1.00 [1.00, 1.00] that of joint.")


def test_no_difference_is_called_none() -> None:
    study = study_of(1.0)
    assert answer(study).startswith(
        "No method is shown to leave the non-dominant encoders sharper or flatter than joint"
    )
    assert details(study)[0].count("not shown to differ") == 5
    assert "sharper" not in details(study)[0]


def test_flatter_is_said_as_readily() -> None:
    assert "flatter by trace (x 0.5" in details(study_of(0.5))[0]
    assert "under msam the non-dominant encoders end flatter than under joint" in answer(study_of(0.5))


def test_values_that_are_not_positive_have_no_ratio() -> None:
    records, found = made_up(2.0)
    found[records[0].folder] = [
        one if one.measure == SCORE else replace(one, value=-1.0) for one in found[records[0].folder]
    ]
    study = compare(records, found)
    assert all(line.ratios == {} for line in study.lines)
    assert study.weaker["trace"]["msam"].n == 7
    assert all(row["ratio"] is None for row in rows(study))


def test_rows_are_unrounded_and_correlation_is_said() -> None:
    study = study_of(2.0, alone=0.4)
    (row,) = [r for r in rows(study) if (r["block"], r["measure"], r["method"]) == ("image", "trace", "msam")]
    assert row["n"] == 8
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert "Kendall" in correlations(study)
    assert all(row["ratio"] is None for row in rows(study) if row["measure"] == SCORE)


def test_runs_that_cannot_be_compared_are_refused() -> None:
    records, found = made_up(1.0)
    with pytest.raises(ValueError, match="of which there is no run"):
        compare([one for one in records if one.label != "joint"], found)
    other = replace(records[0], config={**records[0].config, "data": "another"})
    with pytest.raises(ValueError, match="different data"):
        compare([other, *records[1:]], found)


# ---- surfaces -------------------------------------------------------------------------------------------------------


def test_one_run_a_method_of_the_seed_that_most_have() -> None:
    records = [record("sam", 0), record("sam", 1), record("joint", 1), record("msam", 1), record("joint", 2)]
    assert [(one.label, one.seed) for one in chosen(records)] == [("joint", 1), ("sam", 1), ("msam", 1)]
    assert [one.label for one in chosen(records, 0)] == ["sam"]
    with pytest.raises(ValueError, match="of seed 9, found none"):
        chosen(records, 9)
    with pytest.raises(ValueError, match="found none; train one"):
        chosen([])
    other = replace(records[3], config={**records[3].config, "hidden": 16})
    with pytest.raises(ValueError, match="share no directions"):
        chosen([records[2], other])
    with pytest.raises(ValueError, match="msam has two runs of seed 1"):
        chosen([*records, record("msam", 1)])


def test_surfaces_share_directions_and_data(trained: list[runs.RunRecord]) -> None:
    told: list[tuple[int, int]] = []
    grid = Grid(points=3, samples=24)
    with ThreadPoolExecutor(1) as executor:
        sheets = surfaces(chosen(trained), grid, executor, lambda *it: told.append(it))
        again = surfaces(chosen(trained), grid, executor)
    assert [sheet.label for sheet in sheets] == ["joint", "msam"]
    assert all(sheet.losses[1][1] == sheet.loss for sheet in sheets)
    assert told == [(1, 2), (2, 2)]
    assert again == sheets
    lines = as_csv(sheets).splitlines()
    assert lines[0] == "method,seed,first,second,loss"
    assert len(lines) == 19


def test_paths_lie_in_the_plane_that_holds_most_of_them(trained: list[runs.RunRecord]) -> None:
    found = trajectories(chosen(trained), Grid(points=5, samples=24))
    assert list(found.paths) == ["joint", "msam"]
    assert found.paths["joint"][-1] == (0, 0)
    assert found.paths["joint"][0] == pytest.approx(found.paths["msam"][0], rel=1e-4)  # they start at the same weights
    for path in found.paths.values():
        assert len(path) == 3
        for place in path:
            assert all(axis[0] < value < axis[-1] for value, axis in zip(place, found.axes, strict=True))
    assert "closest to all paths holds" in found.about


def test_a_line_is_a_row_of_the_surface(trained: list[runs.RunRecord]) -> None:
    with ThreadPoolExecutor(1) as executor:
        plane, line = (surfaces(chosen(trained), Grid(axes=n, points=3, samples=24), executor)[0] for n in (2, 1))
    assert line.straight
    assert not plane.straight
    assert [row[0] for row in line.losses] == [row[1] for row in plane.losses]


def sheet(values: Sequence[Sequence[float | None]], label: str = "joint") -> LossSurface:
    axes = ([float(i) for i in range(len(values))], [float(i) for i in range(len(values[0]))])
    about = ("all", ("audio",), 24, "nats", "Directions: seed 0.")
    return LossSurface(label, 0, axes, [list(row) for row in values], 0.5, ("first", "second <b>"), *about)


def bowl(size: int = 21, hole: bool = False) -> list[list[float | None]]:
    middle = (size - 1) / 2
    values: list[list[float | None]] = [
        [0.01 + math.hypot(i - middle, j - middle) ** 2 for j in range(size)] for i in range(size)
    ]
    if hole:
        values[0][0] = None
    return values


def lines_of(svg: str, colour: str, width: str) -> list[list[list[tuple[float, float]]]]:
    """The strokes of a colour and width in an SVG: for each path, its pieces as points."""
    styled = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {colour};[^>]*stroke-width: {width}[;"]', svg)
    return [
        [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", piece)] for piece in one.split("M")[1:]]
        for one in styled
    ]


def level_lines(svg: str) -> list[list[tuple[float, float]]]:
    return [piece for path in lines_of(svg, "#ffffff", "0.9") for piece in path]


def test_level_lines_of_a_bowl_are_circles() -> None:
    drawn = sheet(bowl())
    scale = LossScale.of([drawn])
    (figure,) = contours([drawn])
    assert figure.grid is not None
    left, top, side, _ = figure.grid["frame"]
    cell = side / 21
    middle = (left + side / 2, top + side / 2)
    radii = [math.sqrt(level - 0.01) for level in scale.levels]  # in cells: the loss is 0.01 + radius^2
    circles = [line for line in level_lines(figure.svg) if line[0] == line[-1]]  # closed, within the grid
    assert len(circles) == sum(radius < 10 for radius in radii)
    for line in circles:
        reached = [math.dist(point, middle) / cell for point in line]
        nearest = min(radii, key=lambda radius: abs(radius - reached[0]))
        # a chord between neighbours of the grid leaves a circle of r cells by 1 / 4r at most, a parabola's by as much
        assert all(abs(radius - nearest) < 0.5 / max(nearest, 0.5) for radius in reached)


def test_level_lines_leave_out_cells_with_holes() -> None:
    values = bowl()
    values[10][14] = None  # on the way of the line whose circle is 4.1 cells wide
    whole, holed = (level_lines(contour_poster([sheet(rows)]).svg) for rows in (bowl(), values))
    assert sum(map(len, whole)) > sum(map(len, holed))
    square: list[list[float | None]] = [[None, 0.5], [1.0, 2.0]]
    assert level_lines(contour_poster([sheet(square)]).svg) == []


@pytest.mark.parametrize("values", [[0.01, 5.0], [-1.0, 3.0], [2.0, 2.5], [4.0, 4.0], [0.0, 0.0]])
def test_scales_go_there_and_back(values: list[float]) -> None:
    scale = LossScale.of([sheet([values])])
    assert scale.logarithmic == (values == [0.01, 5.0])
    for tick in scale.ticks:
        assert float(scale.norm.inverse(scale.norm(tick))) == pytest.approx(tick, abs=1e-12)
    from matplotlib.colors import to_hex

    assert [to_hex(scale.colours.to_rgba(end)) for end in (scale.low, scale.high)] == ["#440154", "#fde725"]


def test_pictures_have_axes_one_scale_and_marked_holes() -> None:
    sheets = [sheet(bowl()), sheet(bowl(hole=True), "msam & co")]
    for drawing in (contour_poster(sheets), relief(sheets)[1]):
        svg = drawing.svg
        assert "currentColor" not in svg
        assert "msam &amp; co" in svg
        assert svg.count(">first<") == svg.count(">second &lt;b&gt;<") == 2
        assert svg.count("Training loss (nats, logarithmic scale)") == 1
        assert drawing.png[:8] == b"\x89PNG\r\n\x1a\n"
    assert "Crosses:" in contour_poster(sheets).svg
    assert "Crosses" not in contour_poster(sheets[:1]).svg
    quads = [len(re.findall(r'<path d="[^"]*z[^"]*"[^>]*stroke-opacity: 0.25', relief([one])[1].svg)) for one in sheets]
    assert quads[0] == 20 * 20
    assert quads[0] - quads[1] == 1


def test_all_panels_share_one_colour_scale() -> None:
    low, high = sheet([[1.0, 1.0], [1.0, 2.0]]), sheet([[2.0, 2.0], [2.0, 3.0]])
    apart, beside = (set(re.findall(r"fill: (#\w+)", contours(sheets)[0].svg)) for sheets in ([low], [low, high]))
    assert "#fde725" in apart  # the brightest of all colours is its own highest loss
    assert "#fde725" not in beside


def test_panels_of_the_page_take_its_ink_and_leave_its_styles_alone() -> None:
    for figure in (*contours([sheet(bowl())]), relief([sheet(bowl())])[0]):
        assert figure.svg.startswith("<svg")
        assert "currentColor" in figure.svg
        assert "#1c1f24" not in figure.svg
        assert "<style" not in figure.svg
        assert "joint: loss 0.5 at the model, 0.01 to 200 around it" in figure.alt


def test_the_same_numbers_are_the_same_bytes_whatever_the_user_set(monkeypatch: Any) -> None:
    import matplotlib as mpl

    drawings: list[list[Drawing]] = []
    for size in (6.0, 30.0):
        monkeypatch.setitem(mpl.rcParams, "font.size", size)
        flat = replace(sheet([[1.0], [2.0], [3.0]]), labels=("first",))
        drawings.append([contour_poster([sheet(bowl(5))]), relief([sheet(bowl(5))])[1], loss_curves([flat])[1]])
    assert drawings[0] == drawings[1]
    assert mpl.rcParams["font.size"] == 30.0


def test_curves_have_axes_a_legend_and_gaps_for_holes() -> None:
    values: list[list[float | None]] = [[4.0], [3.0], [None], [1.0], [2.0]]
    axis = [-1.0, -0.5, 0.0, 0.5, 1.0]
    sheets = [replace(sheet(values), axes=(axis, [0.0]), label=name) for name in ("joint", "a & b")]
    figure, drawing = loss_curves(sheets)
    assert drawing.svg.count(">first<") == 1
    assert "loss (nats)" in drawing.svg
    assert "a &amp; b" in drawing.svg
    for colour in ("#1c1f24", "#0072b2"):
        (curve,) = (path for path in lines_of(drawing.svg, colour, "1.6") if len(path) == 2)  # two pieces
        assert [len(piece) for piece in curve] == [2, 2]
    assert drawing.png[:8] == b"\x89PNG\r\n\x1a\n"
    assert figure.grid is not None
    assert figure.grid["names"] == ["joint", "a & b"]


def test_paths_are_drawn_with_a_legend() -> None:
    paths = {"joint": [(0.0, 0.0), (3.0, 4.0)], "msam": [(0.0, 0.0), (9.0, 2.0)]}
    drawn = replace(sheet(bowl()), paths=paths)
    svg = contour_poster([drawn]).svg
    assert svg.count(">joint<") == svg.count(">msam<") == 1
    assert len(lines_of(svg, "#ffffff", "2.6")) == 2
    assert [style.name for style in contours([drawn])[0].drawn] == ["joint", "msam"]


def test_ratio_panels_name_every_row() -> None:
    study = study_of(2.0, alone=0.4)
    figure = ratios(study, "eigenvalue")
    assert figure is not None
    rows_drawn = figure.spec["datasets"]["rows"]
    assert [row["r"] for row in rows_drawn] == [f"{block}: msam" for block in ("all", "audio", "image", "fusion")]
    assert all(row["lo"] <= row["y"] <= row["hi"] for row in rows_drawn)
    assert [row["r"] for row in rows_drawn if row["differs"]] == ["image: msam"]
    assert figure.name == "ratios-eigenvalue"
    records, found = made_up(2.0)
    found = {
        folder: [one if one.measure == SCORE else replace(one, value=-1.0) for one in own]
        for folder, own in found.items()
    }
    assert ratios(compare(records, found), "eigenvalue") is None


# ---- the page and the command ---------------------------------------------------------------------------------------


def test_the_page_needs_no_network_and_holds_every_number(tmp_path: Path) -> None:
    study = study_of(2.0, alone=0.4)
    sheets = (sheet(bowl(5, hole=True)),)
    result = conclude(FlatnessMeasurements("made <up>", "late", study, sheets, Plan(rho=0.05)))
    written = write_study(tmp_path / "report", result, "msam study", [], {"torch": "2.13.0"})
    text = written.read_text()
    assert "made &lt;up&gt;, late fusion" in text
    assert answer(study) in text
    assert correlations(study).partition("(")[0] in text
    assert "rho 0.05" in text
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!data:|#)', outside)
    assert "Points without a finite loss: joint 1." in text
    assert re.search(
        r'<div class="pan" tabindex="0" role="region" aria-labelledby="the-same-in-relief', text
    )  # scrolls
    grids = json.loads(re.findall(r'id="grids">(.*?)</script>', text)[0])
    assert grids["loss-surfaces-on-shared-directions-0"]["losses"][0][0][0] is None
    files = {path.relative_to(tmp_path / "report").as_posix() for path in written.parent.rglob("*.*")}
    names = ("contours", "relief", "ratios-trace")
    pictures = {f"figures/{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert pictures | {"study.html", "flatness.csv", "study.md", "surfaces.csv"} <= files
    columns = "loss_of,block,measure,method,n,mean,sd,error,ratio,ratio_low,ratio_high,p"
    assert (tmp_path / "report/flatness.csv").read_text().startswith(columns)


def test_a_report_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        write_study(tmp_path / "file", landscapes("x", [sheet(bowl(3))]), "", [], {"torch": "2"})


def succeed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 0


def test_msam_landscape_draws_runs(root: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = [
        "landscape",
        str(root),
        "--points",
        "3",
        "--samples",
        "24",
        "--workers",
        "1",
        "--output",
        str(tmp_path / "out"),
    ]
    succeed([*arguments, "--block", "gyroscope", "--coalition", "gyroscope"])
    assert "joint" in capsys.readouterr().out
    assert "the encoder of gyroscope" in (tmp_path / "out/study.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--block", "nose"], "found 'nose'"),
        (["--coalition", "nose"], "A coalition is some of the modalities"),
        (["--points", "1"], "points >= 2"),
        (["--seed", "9"], "of seed 9"),
        (["--plane", "trajectory", "--axes", "1"], "drawn in a plane, found --axes 1"),
    ],
)
def test_msam_landscape_refuses_in_one_sentence(root: Path, arguments: list[str], words: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["landscape", str(root), "--samples", "24", "--workers", "1", *arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert words in said
    assert said.count("\n") == 1


def test_msam_landscape_draws_lines_and_paths(root: Path, tmp_path: Path) -> None:
    options = ["--points", "5", "--samples", "24", "--workers", "1"]
    succeed(["landscape", str(root), *options, "--axes", "1", "--output", str(tmp_path / "line")])
    succeed(["landscape", str(root), *options, "--plane", "trajectory", "--output", str(tmp_path / "paths")])
    assert (tmp_path / "line/surfaces.csv").read_text().count("\n") == 1 + 2 * 5
    assert (tmp_path / "line/figures/curves.png").is_file()
    assert "Paths of training" in (tmp_path / "paths/study.html").read_text()
    assert ">msam<" in (tmp_path / "paths/figures/contours.svg").read_text()


@pytest.mark.slow
def test_msam_study_flatness_answers(root: Path, tmp_path: Path, capsys: Any) -> None:
    given = {"epochs": 2, "hidden": 8, "features": 8, "batch-size": 256, "methods": "joint,msam", "seeds": 1}
    settings = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    measuring = ["--samples", "24", "--points", "3", "--workers", "1", "--report", str(tmp_path / "out")]
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/run.json")}
    succeed(["study", "flatness", "--data", "smartwatch", "--runs", str(root), *settings, *measuring])
    said = capsys.readouterr().out
    assert "the non-dominant encoders" in said
    assert before == {path: path.stat().st_mtime_ns for path in root.glob("*/run.json")}
    assert (tmp_path / "out/flatness.csv").read_text().count("\n") > 50
