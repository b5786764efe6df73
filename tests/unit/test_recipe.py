"""The study of the recipe: its plan, its rule, and the sentence that it writes."""

from __future__ import annotations

import pytest

from msam_bench.analysis.statistics import Comparison
from msam_bench.config.resolve import label_of, resolve
from msam_bench.studies import recipe
from msam_bench.studies.base import Request


def test_the_plan_has_recipe_parents_controls_and_longer_bases_on_paired_seeds() -> None:
    runs = recipe.plan(Request(("digits6", "leaves"), "late", range(300, 303)))
    assert {run.seed for run in runs} == {300, 301, 302}
    epochs = {run.data: run.epochs for run in runs if run.method.name == "joint"}
    longer = sorted(run.epochs // epochs[run.data] for run in runs if run.epochs > epochs[run.data])
    assert longer == [2] * 6 + [3] * 6
    assert len({run.identity for run in runs}) == len(runs)
    own = [recipe._role(run.method.model_dump()) for run in runs]
    assert {role: own.count(role) for role in ("recipe", "sam")} == {"recipe": 6, "sam": 6}


def test_the_grid_is_every_base_with_every_ascent() -> None:
    runs = recipe.plan(Request(("digits6",), "late", [0], ("grid",)))
    assert len(runs) == len(recipe.BASES) * (1 + len(recipe.ASCENTS))


def test_what_was_tuned_for_a_base_holds_for_the_base_of_an_ascent() -> None:
    alone = resolve("digits6", "late", "mbsd").method.params
    composed = resolve("digits6", "late", "sam:rho=0.1:of=mbsd")
    assert alone
    assert {f"of.{key}": value for key, value in alone.items()}.items() <= composed.method.params.items()
    assert label_of(composed) == "sam:rho=0.1:of=mbsd"


def comparison(difference: float, p: float) -> Comparison:
    return Comparison(20, difference, None, None, p, False, 0, 0.5, adjusted=p, family=8)


@pytest.mark.parametrize(
    ("differences", "start", "harm"),
    [
        ({"a": (0.02, 0.01), "b": (0.01, 0.01), "c": (0.0, 0.0)}, "The hypothesis holds", False),
        ({"a": (0.02, 0.01), "b": (0.0, 0.0), "c": (0.0, 0.0)}, "The hypothesis does not hold", False),
        ({"a": (0.02, 0.01), "b": (0.01, 0.01), "c": (0.01, -0.02)}, "The hypothesis does not hold", True),
    ],
)
def test_the_rule_that_was_written_down(differences: dict[str, tuple[float, float]], start: str, harm: bool) -> None:
    tests = {
        (data, rival): comparison(difference, 0.001 if difference else 0.7)
        for data, pair in differences.items()
        for rival, difference in zip(recipe.RIVALS, pair, strict=True)
    }
    sentence = recipe.answer(tests, len(differences))
    assert sentence.startswith(start)
    assert ("worse than a rival on c" in sentence) == harm


def test_differences_are_paired_and_adjusted_over_sets_and_rivals() -> None:
    scores = {"recipe": {1: 0.9, 2: 0.8}, "sam": {1: 0.8, 2: 0.7}, "mbsd": {1: 0.7, 2: 0.9}}
    tests = recipe.family({"a": scores, "b": scores})
    assert {pair: round(test.difference, 9) for pair, test in tests.items()} == {
        ("a", "sam"): 0.1,
        ("a", "mbsd"): 0.05,
        ("b", "sam"): 0.1,
        ("b", "mbsd"): 0.05,
    }
    assert {test.family for test in tests.values()} == {4}
