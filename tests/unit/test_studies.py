"""The named studies: what they plan, what they conclude from runs, and the page they write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from msam_bench.cli.study import QUESTIONS
from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.reporting.figures.curve_plot import curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.study_page import write_study
from msam_bench.reporting.table import Table
from msam_bench.studies import Request, convergence, rho, scaling, studies, study
from records import Fake, fake

SEEDS = range(6)


def request(data: str = "digits6", methods: str = "") -> Request:
    return Request(tuple(data.split(",")), "late", SEEDS, tuple(methods.split(",")) if methods else ())


def asked(name: str) -> Request:
    return request(study(name).data, study(name).methods)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_plan_names_every_run_once_and_pairs_the_seeds(name: str) -> None:
    configs = study(name).plan(asked(name))
    assert len({config.identity for config in configs}) == len(configs)
    by_condition: dict[tuple[str, str, str], set[int]] = {}
    for config in configs:
        by_condition.setdefault((config.data, config.fusion, label_of(config)), set()).add(config.seed)
    assert all(seeds == set(SEEDS) for seeds in by_condition.values())


def test_the_command_knows_every_study_and_its_question() -> None:
    assert {name: one.question for name, one in studies().items()} == QUESTIONS


def test_an_unknown_study_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="dominance"):
        study("dominanse")


def test_settings_of_the_user_come_before_those_of_the_study() -> None:
    given = Request(("digits6",), "late", (0,), settings={"epochs": 7, "lr": None})
    assert {config.epochs for config in study("convergence").plan(given)} == {7}
    assert {config.optimizer.lr for config in study("convergence").plan(given)} == {convergence.RATE}


# ---- conclusions ----------------------------------------------------------------------------------------------------


def test_dominance_says_what_differs_and_what_does_not() -> None:
    configs = study("dominance").plan(request())
    same = study("dominance").conclude([fake(config) for config in configs])
    assert same.answer == (
        "No evidence that it matters which modality is perturbed. No evidence that it matters when the weight is large."
    )
    worse = study("dominance").conclude([fake(c, -0.02 if "random" in label_of(c) else 0) for c in configs])
    # eight controls: Holm asks for 0.05 / 8, which six seeds cannot reach
    assert "cannot show a difference to msam-encoder" in worse.details[0]
    more = [c for seed in range(12) for c in study("dominance").plan(Request(("digits6",), "late", (seed,)))]
    found = study("dominance").conclude([fake(c, -0.02 if "random" in label_of(c) else 0) for c in more])
    assert found.answer.startswith("It matters which modality is perturbed: 1 of 8 controls are worse")
    assert found.tables[0].rows[0]["condition"] == "msam-encoder"
    row = next(row for row in found.tables[0].rows if "random" in row["condition"])
    assert row["difference"] == pytest.approx(-2.0, abs=0.02)


def test_rho_is_chosen_on_validation_and_sharpness_is_measured_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    best = {"sam": 0.2, "gnp": 0.5, "msam": 1.0, "msam-encoder": 0.01}

    def gain(config: RunConfig) -> float:
        value = config.method.params.get("rho")
        return (
            0.0
            if value is None
            else 0.01 - 0.001 * abs(rho.GRID.index(value) - rho.GRID.index(best[config.method.name]))
        )

    monkeypatch.setattr(rho, "sharpness", lambda record, radius: 0.1 - record.summary["test_accuracy"] / 100)
    found = study("rho").conclude([fake(config, gain(config)) for config in study("rho").plan(request())])
    assert all(f"{method} {value:g}" in found.answer for method, value in best.items())
    assert len(found.tables[0].rows) == 1 + 4 * len(rho.GRID)
    assert "tau of sharpness with test accuracy is -1.00" in found.details[0]
    assert [len(own) for own in found.figures.values()] == [3, 1]
    lost = [fake(c, gain(c) - 0.3 * (c.method.params.get("rho") == 1.0)) for c in study("rho").plan(request())]
    panels = study("rho").conclude(lost).figures["Over rho"]
    assert [panel.title for panel in panels][1] == "Test accuracy (%) over rho, within 10 points of the best"


def test_fusion_compares_each_fusion_and_how_ranks_go_together() -> None:
    given = Request(("digits6",), "late", range(12), ("joint", "sam", "msam", "ogm"))
    configs = study("fusion").plan(given)
    assert {label_of(c) for c in configs if c.fusion == "late"} == {
        "joint",
        "sam",
        "msam",
    }  # ogm refuses six modalities
    gains = {"joint": 0.0, "sam": 0.01, "msam": 0.02}
    found = study("fusion").conclude([fake(config, gains[config.method.name]) for config in configs])
    assert "Late fusion: Compared with joint, better" in found.answer
    assert "tau of their mean accuracies is +1.00" in found.details[0]
    assert [table.title for table in found.tables] == ["Late fusion", "Early fusion"]


def test_a_study_goes_on_without_the_runs_that_diverge_and_names_them() -> None:
    given = Request(("digits6",), "late", range(6), ("joint", "sam", "mmpareto"))
    configs = study("fusion").plan(given)
    lost = [config for config in configs if label_of(config) == "mmpareto" and config.fusion == "early"][:2]
    kept = [fake(config) for config in configs if config not in lost]
    found = study("fusion").answer(kept, lost)
    assert found.details[-1] == "mmpareto (digits6, early fusion) diverged at seed 0 and 1, and is judged without."
    with pytest.raises(ValueError, match="All 2 runs of the study diverged"):
        study("fusion").answer([], lost)


def test_normalization_names_the_closest_and_what_knowing_nothing_gives() -> None:
    errors = {"error/clamp": 0.3, "error/raw": 0.5, "error/softmax": 0.1, "error/uniform": 0.2}
    notes = {**errors, "agrees": 0.75, "chance": 1 / 6}
    configs = study("normalization").plan(request())
    found = study("normalization").conclude([fake(config, **notes) for config in configs])
    assert "softmax of accuracy (total variation 0.100; equal shares, which know nothing, 0.200)" in found.answer
    assert "accuracy 75 %" in found.answer
    assert "chance 17 %" in found.answer
    assert len(found.tables[0].rows) == 12
    epochs = [row["epoch"] for row in fake(configs[0], **notes).metrics]
    for figure in found.figures["Over epochs"]:
        assert figure.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == pytest.approx(
            [min(epochs), max(epochs)], abs=0.1
        )
    blind = {**notes, "error/uniform": 0.05}
    found = study("normalization").conclude([fake(config, **blind) for config in configs])
    assert "equal shares, which know nothing, 0.050: none is closer than these)" in found.answer


def test_scaling_reads_errors_and_costs_of_each_number_of_modalities() -> None:
    def notes(count: int) -> dict[str, float]:
        names = [*scaling.ESTIMATES, "reference"]
        return {
            **{f"wrong/{name}": count / 100 for name in names},
            **{f"error/{name}": count / 1000 for name in names},
            **{f"coalitions/{name}": 2.0 * count for name in names},
            **{f"seconds/{name}": count / 1e4 for name in names},
        }

    configs = study("scaling").plan(request())
    found = study("scaling").conclude([fake(c, **notes(len(source(c.data).modalities))) for c in configs])
    assert [row["modalities"] for row in found.tables[0].rows[:: len(scaling.ESTIMATES)]] == list(scaling.COUNTS)
    last = found.tables[0].rows[-len(scaling.ESTIMATES)]
    assert (last["wrong %"], last["coalitions"], last["ms"]) == pytest.approx((32, 64, 3.2))
    assert "in 2 % of the batches with 2 modalities and in 32 % with 32" in found.answer


def test_scaling_asks_for_no_more_modalities_than_there_are_channels() -> None:
    plan = study("scaling").plan(Request(("smartwatch",), "late", range(1)))
    assert [config.data for config in plan] == ["smartwatchx2", "smartwatchx4", "smartwatchx6"]


def test_convergence_compares_slopes_over_the_same_steps() -> None:
    steps = range(1, 1001)

    def run(config: RunConfig, power: float) -> Fake:
        # increments whose running mean is T ** -power
        total = [t ** (1 - power) for t in steps]
        squares = [b - a for a, b in zip([0.0, *total], total, strict=False)]
        record = fake(config)
        record.metrics[:] = [{"epoch": float(t), "squared_gradient": s} for t, s in zip(steps, squares, strict=True)]
        return record

    configs = study("convergence").plan(request())
    kept = study("convergence").conclude([run(config, 0.5) for config in configs])
    assert "joint -0.500, sam -0.500 and msam -0.500" in kept.answer
    assert "The bound is kept" in kept.answer
    broken = study("convergence").conclude([run(config, 0.1) for config in configs])
    assert "not reached" in broken.answer
    one = study("convergence").conclude([run(config, 0.6 if config.seed else 0.1) for config in configs])
    assert "in the mean; single runs fall more slowly (joint in 1 of 6, sam in 1 of 6 and msam in 1 of 6)" in one.answer


def test_running_means_and_slope_by_hand() -> None:
    assert convergence.means([4.0, 2.0, 3.0]) == [4.0, 3.0, 3.0]
    assert convergence.slope([t**-0.75 for t in range(1, 200)], first=10) == pytest.approx(-0.75, abs=1e-12)


def test_transfer_ranks_methods_and_says_that_two_data_sets_are_too_few() -> None:
    gains = {"joint": 0.0, "sam": 0.01, "gnp": 0.02, "msam": 0.03, "msam-encoder": 0.04}
    configs = study("transfer").plan(asked("transfer"))
    found = study("transfer").conclude([fake(config, gains[config.method.name]) for config in configs])
    assert found.answer.startswith("Average ranks over digits6 and smartwatch: msam-encoder 1.0, msam 2.0")
    assert "2 data sets are too few to test ranks (at least 5)" in found.answer
    assert [detail.split(":")[0] for detail in found.details] == ["digits6", "smartwatch"]
    assert [len(figures) for figures in found.figures.values()] == [1, 1]


def test_transfer_takes_all_methods_that_suit_each_data_set() -> None:
    plan = study("transfer").plan(Request(("digits6", "smartwatch"), "late", range(2), ("all",)))
    names = {data: {label_of(run) for run in plan if run.data == data} for data in ("digits6", "smartwatch")}
    assert len(names["digits6"]) > 20
    assert names["digits6"] ^ names["smartwatch"] >= {"ogm", "ogm-pairwise"}  # six modalities take its extension


# ---- tables and pages -----------------------------------------------------------------------------------------------


def test_a_sheet_shows_values_rounded_and_keeps_them_unrounded() -> None:
    table = Table("Title", [{"name": "a|b", "value": 1 / 3, "none": None, "n": 3}], {"value": 1}, "Caption.")
    assert table.cells == (("a|b", "0.3", "–", "3"),)
    assert table.csv() == "name,value,none,n\na|b,0.3333333333333333,,3\n"
    assert "| a\\|b | 0.3 | – | 3 |" in table.markdown()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_page_is_one_offline_file_with_its_tables_and_pictures_beside_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    configs = study("scaling").plan(request())
    names = [f"{kind}/{name}" for kind in ("wrong", "error", "coalitions", "seconds") for name in scaling.ESTIMATES]
    notes = dict.fromkeys([*names, "coalitions/reference", "seconds/reference"], 0.5)
    records = [fake(config, **notes) for config in configs]
    found = study("scaling").conclude(records)
    page = write_study(tmp_path / "out", found, "msam study scaling <&>", records).read_text()
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert files == {
        "study.html",
        "study.md",
        "error-and-cost-of-cheaper-shapley-values.csv",
        *(f"figures/by-the-number-of-modalities-{i}.{kind}" for i in (0, 1) for kind in ("svg", "png")),
    }
    assert "msam study scaling &lt;&amp;&gt;" in page
    assert found.answer.partition(",")[0] in page
    assert not re.search(r'(src|href)="https?://', page)
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert list(specs) == ["by-the-number-of-modalities-0", "by-the-number-of-modalities-1"]
    assert all(f'id="{name}"' in page for name in specs)


def test_a_name_looks_the_same_in_all_figures_of_a_page() -> None:
    names = [f"{kind}/{name}" for kind in ("wrong", "error", "coalitions", "seconds") for name in scaling.ESTIMATES]
    notes = dict.fromkeys([*names, "coalitions/reference", "seconds/reference"], 0.5)
    found = study("scaling").conclude([fake(config, **notes) for config in study("scaling").plan(request())])
    drawn = {(look.name, look) for figures in found.figures.values() for figure in figures for look in figure.drawn}
    assert len(drawn) == len({name for name, _ in drawn}) == 6
    assert len({(look.colour, look.shape) for _, look in drawn}) == 6


def test_axes_of_curves_have_their_ticks_at_the_points_and_no_room_that_means_nothing() -> None:
    figure = curve("x", {"a": [(2.0, 0.0, 0.0, 0.0), (10.0, 90.0, 80.0, 100.0)]}, Axes("x", "y"), log="x")
    x, y = (figure.spec["layer"][2]["encoding"][axis] for axis in "xy")
    assert x["axis"]["values"] == [2.0, 10.0]
    assert (y["scale"]["domain"], y["scale"]["padding"]) == ([0.0, 100.0], 0)


def test_text_columns_read_from_the_left() -> None:
    assert Table("", [{"n": 1, "step": "sam", "ms": 1.0}, {"n": 2, "step": "msam", "ms": None}]).words == ("step",)


def test_a_report_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ValueError, match="name a folder"):
        write_study(tmp_path / "taken", Result("x", "?", "!", (), (), {}), "msam study x", [])
    assert (tmp_path / "taken").read_text() == "mine"
