"""The table, the page and their words, from synthetic runs."""

import csv
import io
import itertools
import json
import math
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from msam_bench.analysis.grouping import split_by_settings
from msam_bench.reporting import figures as charts
from msam_bench.reporting import page as pages
from msam_bench.reporting import pictures, report, vega
from msam_bench.reporting.figures import curves, modalities
from msam_bench.reporting.figures.curve_plot import curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.report import compare, write_report
from msam_bench.reporting.templating import breakable

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")
METHODS = ("joint", "sam", "gnp", "msam", "msam-encoder")
GAIN = {"joint": 0.0, "sam": 0.004, "gnp": 0.003, "msam": 0.0045, "msam-encoder": 0.008}


@dataclass(frozen=True)
class Fake:
    """A record as the bench reads it from a run folder."""

    folder: Path
    label: str
    seed: int
    config: dict
    data: dict
    environment: dict
    summary: dict
    timing: dict
    metrics: list = field(repr=False)


def run(label="joint", seed=0, *, views=VIEWS, epochs=30, gain=None, names_dominant=None):
    """Makes one plausible run: accuracy rises, saturates, and depends on seed and method."""
    draw = random.Random(f"{label}/{seed}")
    base = 0.962 + 0.006 * math.sin(7 * seed) + (GAIN.get(label, 0.0) if gain is None else gain) + draw.gauss(0, 0.0015)
    named = label.startswith("msam") if names_dominant is None else names_dominant
    metrics = [epoch_row(draw, epoch, base, views, label, named) for epoch in range(1, epochs + 1)]
    return Fake(
        folder=Path("runs") / f"{label.replace(':', '-')}-{seed}",
        label=label,
        seed=seed,
        config={
            "data": "digits6",
            "fusion": "late",
            "epochs": epochs,
            "batch_size": 32,
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
            "method": {"name": label.split(":")[0], "params": {"rho": 0.05} if label != "joint" else {}},
            "seed": seed,
            "select": "valid_accuracy",
        },
        data={
            "name": "digits6",
            "fingerprint": "4f1c2a",
            "modalities": list(views),
            "classes": [str(i) for i in range(10)],
            "sizes": {"train": 200, "valid": 200, "test": 1600},
            "fold": None,
        },
        environment={"python": "3.11.7", "torch": "2.13.0", "msam": "0.1.0", "cpu": "2 cores", "git": "0a1b2c3"},
        summary=summary(draw, base, views, epochs, label, named),
        timing={"seconds": 1.1 + (label != "joint") * 0.9 + draw.random() / 10},
        metrics=metrics,
    )


def epoch_row(draw, epoch, base, views, label, named):
    rise = 1 - math.exp(-epoch / 4)
    train, valid = min(1.0, 0.1 + 0.9 * rise), (0.1 + (base - 0.1) * rise) + draw.gauss(0, 0.003)
    row = {"epoch": epoch, "train_loss": 2.3 * math.exp(-epoch / 5), "train_accuracy": train, "valid_accuracy": valid}
    row |= {"valid_loss": 2.3 * math.exp(-epoch / 6) + 0.1, "tau": abs(train - valid) / valid, "lr": 0.05}
    if named:
        raw = [draw.random() * (2 if view in ("fac", "kar") else 1) for view in views]
        row |= {f"contribution/{view}": rise * x / sum(raw) for view, x in zip(views, raw, strict=True)}
        row |= {f"dominant/{view}": x**3 / sum(y**3 for y in raw) for view, x in zip(views, raw, strict=True)}
        row |= {"share": 0.3 + 0.1 * draw.random()}
    if label != "joint":
        row |= {"sharpness": 0.3 * math.exp(-epoch / 8) + draw.random() / 50}
    return row


def summary(draw, base, views, epochs, label, named):
    names = [c for size in range(1, len(views) + 1) for c in itertools.combinations(views, size)]
    reach = {view: 0.25 + 0.08 * place for place, view in enumerate(views)}
    found = {"+".join(c): 1 - math.prod(1 - reach[v] for v in c) * (1 + draw.gauss(0, 0.02)) for c in names}
    found["+".join(views)] = base
    return {
        "epoch": epochs - 2,
        "train_accuracy": 1.0,
        "valid_accuracy": base,
        "test_accuracy": base,
        "last_test_accuracy": base - 0.001,
        "tau": abs(1 - base) / base,
        "coalitions": found,
        "contributions": {view: base / len(views) * (1 + draw.gauss(0, 0.1)) for view in views},
        "gradients": 210 * (1 if label == "joint" else 2),
        "forwards": 420,
        "switching": 0.34 + draw.random() / 10 if named else None,
    }


def runs(methods=METHODS, seeds=6, **options):
    return [run(method, seed, **options) for method in methods for seed in range(seeds)]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Keeps the bundled scripts out of the user's own cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def page(cache, monkeypatch, tmp_path):
    """Writes a report and gives its text; the pictures beside it have a test of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(pages, "pictures", lambda *_: {})

    def write(records, command="msam compare"):
        return write_report(records, tmp_path / "out", command).read_text(encoding="utf-8")

    return write


def specs_of(text):
    return json.loads(re.search(r'<script type="application/json" id="specs">(.*?)</script>', text, re.S).group(1))


def test_table_has_a_row_a_method_and_a_column_a_modality():
    table = compare(runs())
    assert [row.method for row in table.rows] == list(METHODS)
    assert (table.reference, table.second, table.seeds) == ("joint", "sam", (0, 1, 2, 3, 4, 5))
    assert table.header == (
        "method", "n", "test %", "SD", "to joint [95 %]", "p (joint)", "to sam [95 %]", "p (sam)", "tau",
        "fou %", "fac %", "kar %", "pix %", "zer %", "mor %",
        "gradients", "forwards", "backwards", "encoder passes", "seconds",
    )  # fmt: skip
    assert all(len(cells) == len(table.header) for cells in table.cells)
    assert table.rows[0].to_reference is None
    assert table.rows[1].to_second is None
    assert table.rows[1].to_reference.difference == -table.rows[0].to_second.difference


def test_references_come_first_whatever_the_order_of_the_records():
    assert [row.method for row in compare(runs(["gnp", "sam", "a", "joint"])).rows] == ["joint", "sam", "gnp", "a"]


def test_table_values_by_hand():
    records = [run("joint", 0), run("joint", 1), run("sam", 0), run("sam", 1)]
    values = [0.90, 0.92, 0.93, 0.93]
    records = [replace(r, summary=r.summary | {"test_accuracy": v}) for r, v in zip(records, values, strict=True)]
    joint, sam = compare(records).cells
    assert joint[:6] == ("joint", "2", "91.00", "1.41", "–", "–")
    assert sam[:4] == ("sam", "2", "93.00", "0.00")
    assert sam[4:6] == ("+2.00", "–")  # two pairs are described, not tested
    assert sam[-5:-1] == ("420", "420", "–", "–")  # a run of before these were counted
    assert sam[-1] == f"{sum(r.timing['seconds'] for r in records[2:]) / 2:.1f}"


def test_verdict_describes_fewer_than_six_seeds():
    table = compare(runs(seeds=5))
    assert table.verdict.startswith(
        "Described, not tested, for fewer than 6 seeds or a single fold cannot tell: sam at +"
    )
    assert not re.search("best|better:|worse:", table.verdict)


def test_verdict_names_the_best_when_twelve_seeds_support_it():
    table = compare(runs(seeds=12))
    assert table.verdict.startswith(
        "Against joint (n = 12 paired seeds, one family of 4 comparisons, simultaneous 95 %"
    )
    assert "relevantly better: msam-encoder by 0.8" in table.verdict
    assert "msam-encoder is the best: it is better than each of the other 4." in table.verdict
    assert "kept no predictions (joint, sam, gnp, msam and msam-encoder), this holds over seeds of this pool" in (
        table.verdict
    )


def test_interval_and_p_of_the_table_agree():
    for row in compare(runs(seeds=12)).rows[1:]:
        found = row.to_reference
        assert (found.low > 0 or found.high < 0) == (found.adjusted <= 0.05)


def test_verdict_finds_nothing_between_equal_methods():
    table = compare([run(label, seed, gain=0.0) for label in ("joint", "twin", "other") for seed in range(12)])
    assert table.second is None
    assert "no difference that matters: twin at " in table.verdict
    assert not re.search("better:|worse:|is the best", table.verdict)


def test_one_method_is_compared_with_nothing():
    table = compare(runs(["msam"]))
    assert table.verdict == "There is no method to compare with msam."
    assert "No method is called joint, so that the first one, msam, is the reference." in table.notes


def test_the_first_method_stands_in_for_a_missing_reference():
    table = compare(runs(["gnp", "msam"]))
    assert (table.reference, table.second) == ("gnp", None)
    assert table.header[4] == "to gnp [95 %]"


def test_missing_seeds_are_left_out_and_said():
    records = [r for r in runs(["joint", "msam"]) if (r.label, r.seed) not in {("msam", 2), ("joint", 5)}]
    table = compare([*records, run("gnp", 77)])
    assert table.rows[1].to_reference.n == 4
    assert table.rows[2].to_reference is None
    assert "msam and joint share 4 seeds; 2 that only one of them has are left out." in table.notes
    assert "gnp shares no seed with joint and is not compared with it." in table.notes


def test_settings_that_differ_apart_from_the_method_are_said():
    slower = [replace(r, config=r.config | {"epochs": 60}) for r in runs(["msam"])]
    assert compare([*runs(["joint"]), *slower]).notes == (
        "Besides the method, these settings differ between methods: epochs.",
    )
    assert compare(runs()).notes == ()
    equal = [replace(r, config=r.config | {"budget": "gradients"}) for r in runs(["joint", "sam"])]
    assert compare(equal, notes=["umt is left out."]).notes == (
        "umt is left out.",
        "Every method was given the same number of gradients, not of epochs.",
    )


def test_caption_says_what_the_standard_error_covers():
    caption = compare(runs()).caption
    assert "The standard error covers seeds alone, where runs kept no predictions." in caption
    assert "Intervals are simultaneous and p adjusted (Sidak) over all comparisons of a family" in caption
    folded = [replace(r, data=r.data | {"fold": r.seed % 5}) for r in runs(seeds=10)]
    assert "The standard error covers folds, by their means." in compare(folded).caption
    assert "This holds for groups like those of these 5 folds" in compare(folded).verdict


def other_data(record):
    return replace(record, data=record.data | {"name": "smartwatch"})


def other_fingerprint(record):
    return replace(record, data=record.data | {"fingerprint": "0000"})


def other_fold(record):
    return replace(record, data=record.data | {"fold": 3})


def without_accuracy(record):
    return replace(record, summary=record.summary | {"test_accuracy": math.nan})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other_data, "These runs are of different data (digits6 and smartwatch)"),
        (other_fingerprint, "data with different fingerprints (0000 and 4f1c2a)"),
        (other_fold, "Runs of seed 0 are of fold None and of fold 3"),
        (without_accuracy, "run msam-0 (msam, seed 0) has nan"),
        (lambda record: replace(record, seed=1), "msam has more than one run of seed 1 (msam-0 and msam-1)"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(spoil, said, tmp_path):
    records = [*runs(["joint"]), spoil(run("msam", 0)), *(run("msam", seed) for seed in range(1, 6))]
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        write_report(records, tmp_path / "out", "msam compare")
    assert str(caught.value).count(". ") == 0
    assert not (tmp_path / "out").exists()


def set_up(record, lr=0.05, tuned=False, **params):
    method = {"name": record.label, "params": params, "tuned": params if tuned else {}}
    return replace(record, config=record.config | {"optimizer": {"lr": lr}, "method": method})


@pytest.mark.parametrize("tuned", [range(6), range(6, 9)], ids=["the same seeds", "other seeds"])
def test_runs_of_one_method_that_were_set_up_differently_are_neither_mixed_nor_refused(tuned):
    joint = [set_up(run("joint", seed)) for seed in range(9)]
    shipped = [set_up(run("sam", seed), rho=0.05) for seed in range(6)]
    other = [set_up(run("sam", seed, gain=-0.1), lr=0.1, tuned=True, rho=0.3) for seed in tuned]
    table = compare([*other, *joint, *shipped])
    assert [row.method for row in table.rows] == ["joint", "sam", "sam (rho=0.3, optimizer.lr=0.1)"]
    assert [row.n for row in table.rows] == [9, 6, len(tuned)]
    assert table.second == "sam"
    assert table.rows[1].accuracy.mean == pytest.approx(sum(own.summary["test_accuracy"] for own in shipped) / 6)


def test_a_setting_that_only_one_of_two_has_is_named():
    runs = [set_up(run("msam", 0), rho=0.1), set_up(run("msam", 1), rho=0.1), set_up(run("msam", 2))]
    assert list(split_by_settings("msam", runs)) == ["msam", "msam (no rho)"]


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="no finished run was given"):
        compare([])


def test_markdown_holds_verdict_notes_rows_and_caption():
    table = compare(runs(["joint", "a|b<i>"]))
    text = table.markdown()
    assert text.startswith(table.verdict.replace("|", "\\|").replace("<", "&lt;"))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert rows[3].startswith("| a\\|b&lt;i> | 6 |")
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert text.rstrip().endswith("moderate below ten times that.")


def test_csv_is_unrounded_and_reads_back():
    table = compare(runs())
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["method"] for row in rows] == list(METHODS)
    assert float(rows[3]["test_accuracy_mean"]) == table.rows[3].accuracy.mean
    assert float(rows[3]["to_reference_adjusted"]) == table.rows[3].to_reference.adjusted
    assert rows[0]["to_reference_p"] == ""
    assert {"alone_fou", "to_second_low", "to_reference_probability_of_improvement"} <= rows[0].keys()


def test_page_is_one_offline_file_with_every_section(page):
    text = page(runs())
    assert len(text.encode()) < 3_000_000
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.S)
    assert not re.findall(r'(?:src|href)="(?!#|data:)|url\(|@import', outside)
    for id in (
        "summary", "table", "differences", "seeds", "learning", "gap", "contributions", "dominance", "strength",
        "coalitions", "shares", "cost", "configuration", "environment", "reproduce",
    ):  # fmt: skip
        assert f'<section id="{id}"' in text
        assert f'<a href="#{id}">' in text
    specs = specs_of(text)
    assert len(specs) == 2 + 1 + 3 + 1 + 2 + 2 + 2 + 6 + 1 + 1
    assert all(re.search(rf'id="{id}" role="img" aria-label="[^"]{{30,}}"', text) for id in specs)


def test_page_and_tables_agree(page, tmp_path):
    text = page(runs())
    table = compare(runs())
    assert table.verdict in text
    assert all(f"<td>{cell}</td>" in text for row in table.cells for cell in row[1:])
    assert (tmp_path / "out" / "table.md").read_text() == table.markdown()
    assert (tmp_path / "out" / "table.csv").read_text() == table.csv()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "table.md",
        "table.csv",
    }  # no figures


def test_page_is_the_same_when_written_again(page):
    small = {"methods": ["joint", "msam"], "seeds": 2, "epochs": 3, "views": ("audio", "image")}
    assert page(runs(**small)) == page(runs(**small))


def test_every_figure_compiles_and_draws_without_a_warning(page):
    import altair
    import vl_convert

    for id, spec in specs_of(page(runs())).items():
        altair.LayerChart.from_dict(spec, validate=True)
        svg = vl_convert.vegalite_to_svg({**spec, "width": 400}, show_warnings=False)
        assert svg.count("<path") > 5, id
        assert "NaN" not in svg, id
        assert spec["width"] == "container"


def test_names_cannot_break_out_of_the_page(page):
    bad = "\"'></script><script>alert(1)</script><!--"
    spoilt = [replace(r, label=bad, data=r.data | {"name": bad}, environment={bad: bad}) for r in runs(["msam"])]
    records = [*(replace(r, data=r.data | {"name": bad}) for r in runs(["joint"])), *spoilt]
    text = page(records, command=f"msam compare {bad}")
    assert "<script>alert" not in text
    assert text.count("</script>") == 3
    assert bad in json.dumps(specs_of(text), ensure_ascii=False).replace('\\"', '"')


@pytest.mark.parametrize(
    "records",
    [
        runs(["joint"], seeds=1, epochs=1),
        runs(["joint", "msam"], seeds=1, views=("audio", "image")),
        runs(["msam"], seeds=2, views=("audio",)),
        [replace(r, summary=r.summary | {"gradients": 0}) for r in runs(["joint", "sam"], seeds=2, views=("a", "b"))],
        [replace(r, metrics=[]) for r in runs(["joint", "sam"], seeds=3)],
        [replace(r, summary={"test_accuracy": 0.5, "epoch": 1}, timing={}) for r in runs(["joint", "sam"], seeds=3)],
        runs([f"msam:rho={i}" for i in range(9)], seeds=2, epochs=3, views=("audio", "image")),
    ],
    ids=["one run", "one seed", "one modality", "no gradients", "no metrics", "little summary", "many methods"],
)
def test_page_of_unusual_runs(page, records):
    import vl_convert

    for spec in specs_of(page(records)).values():
        assert "NaN" not in vl_convert.vegalite_to_svg({**spec, "width": 400})


def test_long_runs_of_many_methods_are_thinned_to_fit():
    groups = {f"m{i}": [run(f"msam:{i}", seed, epochs=200, views=VIEWS[:3]) for seed in (0, 1)] for i in range(12)}
    looks = charts.series_styles(groups)
    figure = charts.learning(groups, looks)[0]
    rows = figure.spec["datasets"]["rows"]
    assert len(rows) <= charts.MOST_POINTS
    assert {row["x"] for row in rows if row["g"] == "m0"} >= {200}
    assert "lo" not in rows[0]
    shown = charts.contributions(groups, charts.series_styles(VIEWS[:3]))
    assert sum(len(f.spec["datasets"]["rows"]) for f in shown) <= charts.MOST_POINTS


def test_of_many_methods_the_references_and_the_most_accurate_stand_out(page):
    gains = {f"m{i}": (i - 10) / 100 for i in range(10)} | {"joint": 0.0, "sam": 0.0}
    text = page(
        [run(name, seed, epochs=4, views=VIEWS[:2], gain=gain) for name, gain in gains.items() for seed in (0, 1)]
    )
    learning = text.partition('<section id="learning"')[2].partition("</section>")[0]
    shown = re.findall(r'<button type="button" value="(\w+)" aria-pressed="true">', learning)
    assert shown == ["joint", "sam", "m5", "m6", "m7", "m8", "m9"]
    assert learning.count('aria-pressed="false"') == 5
    assert "5 more in grey" in learning
    for spec in (spec for id, spec in specs_of(text).items() if id.startswith(("learning", "gap", "cost"))):
        assert sorted(spec["params"][0]["value"]) == sorted(shown)
        axes = [spec["layer"][place]["encoding"][axis]["scale"] for place in (0, -1) for axis in "xy"]
        assert all("domain" in axis for axis in axes)  # a layer of which nothing is shown has no range of its own


def test_few_methods_all_stand_out_in_the_order_of_the_table(page):
    text = page(runs(seeds=2, epochs=4, views=VIEWS[:2]))
    learning = text.partition('<section id="learning"')[2].partition("</section>")[0]
    assert re.findall(r'value="([\w-]+)" aria-pressed="(\w+)"', learning) == [(name, "true") for name in METHODS]
    assert "in grey" not in text


def test_a_section_lets_the_same_names_stand_out_in_all_its_figures():
    groups = {f"m{i}": [run("msam", names_dominant=i > 7, epochs=4, views=VIEWS[:2])] for i in range(12)}
    weight, sharpness = charts.strengths(groups, charts.series_styles(groups))
    assert [look.name for look in weight.drawn] == ["m8", "m9", "m10", "m11"]
    assert weight.bold == sharpness.bold == ("m0", "m1", "m2", "m3", "m4", "m5", "m6")


def test_the_more_of_methods_and_coalitions_are_rows_and_titles_have_room():
    def panel(count):
        groups = {f"method-{i}": [run(views=VIEWS[:3], epochs=2)] for i in range(count)}
        return charts.coalitions(groups, VIEWS[:3])[1]

    assert panel(3).header == ("", "method-0", "method-1", "method-2")
    assert panel(4).header == ("", "fou+fac", "fou+kar", "fac+kar")
    assert [row[0] for row in panel(4).rows] == ["method-0", "method-1", "method-2", "method-3"]
    assert panel(4).narrowest > 8 * len("method-0") + 3 * 20


def test_epochs_below_a_heat_map_are_round_and_end_at_the_last():
    figure = charts.dominance({"msam": [run("msam", epochs=40)]}, charts.series_styles(VIEWS))[0]
    assert figure.spec["layer"][0]["encoding"]["x"]["axis"]["values"] == [str(5 * n) for n in range(1, 9)]


def test_long_names_break_behind_punctuation_but_numbers_do_not():
    assert breakable("msam:rho=0.05,a.b") == "msam:<wbr>rho=<wbr>0.05,a.<wbr>b"
    assert breakable("<i>/x") == "&lt;i&gt;/<wbr>x"


def test_bands_stay_within_what_was_seen():
    mean, low, high = curves._band([0.9, 1.0, 1.0])
    assert (mean, low, high) == (pytest.approx(2.9 / 3), pytest.approx(2.9 / 3 - 0.1 / 3**0.5), 1.0)


def test_figures_of_equal_values_have_an_axis_with_room():
    flat = [replace(r, metrics=[row | {"tau": 0.0} for row in r.metrics]) for r in runs(["joint"], seeds=2)]
    figure = charts.gap({"joint": flat}, charts.series_styles(["joint"]))[0]
    assert figure.spec["layer"][1]["encoding"]["y"]["scale"]["domain"] == [-0.001, 0.001]


def test_forty_two_methods_look_different():
    looks = charts.series_styles(map(str, range(42)))
    assert len({(look.colour, look.dash) for look in looks}) == 42
    assert charts.series_styles(["a", "b"], reference="b")[1].colour == "currentColor"
    with_ink, without = charts.series_styles(["b", "a"], reference="b"), charts.series_styles(["a"], reference="b")
    assert replace(with_ink[1], rank=0) == without[0]  # a figure without the reference looks like one with it
    assert with_ink[0].dash != with_ink[1].dash


def test_a_coalition_is_named_by_who_is_absent_where_that_is_shorter():
    assert modalities._short("fou+fac+kar+pix+zer+mor", VIEWS) == "all 6"
    assert modalities._short("fac+kar+pix+zer+mor", VIEWS) == "all but fou"
    assert modalities._short("fou", VIEWS) == "fou"


def test_a_file_in_the_place_of_the_folder_is_refused(page, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match=r"is written into a folder, but .*out is a file"):
        page(runs(seeds=2))
    assert (tmp_path / "out").read_text() == "mine"


def test_scripts_are_kept_for_the_next_report_and_do_without_a_cache(tmp_path, monkeypatch):
    import vl_convert

    calls = []
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: calls.append(snippet) or "draw('</script>')")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert vega.scripts() == vega.scripts() == "draw('<\\/script>')"
    assert len(calls) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert vega.scripts() == "draw('<\\/script>')"


def test_importing_the_report_is_cheap():
    heavy = ["altair", "jinja2", "numpy", "scipy", "torch", "vl_convert"]
    code = f"import sys, msam_bench.reporting.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=source_path())
    assert done.stdout.strip() == "[]"


def source_path():
    import os

    return os.environ | {"PYTHONPATH": str(Path(report.__file__).parents[1])}


class TestPictures:
    def test_every_figure_of_the_page_is_there_as_svg_and_png(self, tmp_path):
        records = [run(label, seed, views=VIEWS[:2], epochs=4) for label in ("joint", "msam") for seed in range(3)]
        page = write_report(records, tmp_path, "msam compare").read_text(encoding="utf-8")
        specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.S)[1])
        files = {path.name for path in (tmp_path / "figures").iterdir()}
        assert files == {f"{name}.{kind}" for name in specs for kind in ("svg", "png")}
        for path in (tmp_path / "figures").glob("*.png"):
            assert path.read_bytes().startswith(b"\x89PNG")

    def test_an_executor_draws_the_same_where_there_are_many(self, monkeypatch):
        monkeypatch.setattr(pictures, "FEW", 0)
        groups = {label: [run(label, epochs=5, views=VIEWS[:2])] for label in ("joint", "msam")}
        figures = {
            "gap": charts.gap(groups, charts.series_styles(groups)),
            "cost": charts.cost(groups, charts.series_styles(groups)),
        }
        with ThreadPoolExecutor(1) as executor:
            assert pictures.pictures(figures, executor) == pictures.pictures(figures)

    def test_what_only_a_pointer_finds_is_left_out_and_nothing_has_a_canvas_of_its_own(self):
        groups = {f"m{i}": [run("msam", epochs=50)] for i in range(9)}
        figure = charts.learning(groups, charts.series_styles(groups))[0]
        svg = pictures.drawn("learning", figure)["learning.svg"]
        assert ' opacity="' not in svg
        assert 'stroke-opacity="0.3"' in svg
        assert svg.count("<path") < 100  # the page has a point for each of 450 epochs as well

    def test_a_picture_stands_alone(self):
        groups = {label: [run(label, seed, epochs=5) for seed in range(3)] for label in ("joint", "msam")}
        figure = charts.learning(groups, charts.series_styles(groups, reference="joint"))[0]
        svg = pictures.drawn("learning", figure)["learning.svg"]
        assert "currentColor" not in svg
        assert all(word in svg for word in ("joint", "msam", figure.title, "Epoch"))
        assert figure.spec["width"] == "container"  # the page's own stays as it was

    def test_a_legend_names_those_in_colour_and_says_how_many_are_not(self):
        groups = {f"m{i}": [run("msam", seed, epochs=5) for seed in range(2)] for i in range(9)}
        spec = pictures.standing_alone(charts.learning(groups, charts.series_styles(groups))[0])
        assert spec["title"]["subtitle"] == "Grey: 2 others"
        assert spec["layer"][-1]["encoding"]["color"]["legend"]["values"] == [f"m{i}" for i in range(7)]

    def test_a_legend_of_markers_has_no_dashes_around_them(self):
        figure = curve("Cost", {"a": [(1.0, 2.0, 1.0, 3.0)]}, Axes("x", "y"), log="x")
        line, _, points = (layer["encoding"] for layer in pictures.standing_alone(figure)["layer"])
        assert line["strokeDash"]["legend"] is None
        assert points["shape"]["legend"]["symbolDash"] == [1, 0]


def test_runs_that_diverged_are_told_with_their_number():
    table = compare(runs(seeds=12), question=report.Question(diverged={"sam": (12, 13)}))
    assert "sam diverged in 2 of 14 runs, which are left out, in its favour." in table.verdict


def test_a_verdict_on_untuned_methods_begins_so():
    table = compare(runs(seeds=12), question=report.Question(untuned=("joint", "sam")))
    assert table.verdict.startswith("Untuned: no setting of joint and sam was chosen for these data")


def test_the_margin_decides_what_matters():
    wide = compare(runs(seeds=12), question=report.Question(margin=0.03)).verdict
    assert "better, but by less than matters: sam by" in wide


def test_a_metric_that_needs_predictions_is_refused_without_them():
    with pytest.raises(ValueError, match="macro-f1 needs the predictions of every run, but joint-0 kept none"):
        compare(runs(), question=report.Question(metric="macro-f1"))
    with pytest.raises(ValueError, match="The metric r2 is not one of classes; name one of accuracy, "):
        compare(runs(), question=report.Question(metric="r2"))
