"""Average ranks, Friedman's test and Nemenyi's critical distance."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import chi2, friedmanchisquare

from msam_bench.analysis.ranking import friedman, ranks


def test_ranks_by_hand() -> None:
    table = {"first": {"a": 0.9, "b": 0.8, "c": 0.7}, "second": {"a": 0.5, "b": 0.6, "c": 0.5, "only here": 1.0}}
    assert ranks(table) == {"a": (1 + 2.5) / 2, "b": (2 + 1) / 2, "c": (3 + 2.5) / 2}


def test_no_common_method_is_refused() -> None:
    with pytest.raises(ValueError, match="every data set"):
        ranks({"first": {"a": 1.0}, "second": {"b": 1.0}})


@pytest.mark.parametrize(("methods", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])  # Demsar 2006, table 5
def test_critical_distance_is_nemenyis(methods: int, q: float) -> None:
    table = {f"d{i}": {f"m{j}": random.Random(i * 100 + j).random() for j in range(methods)} for i in range(8)}
    found = friedman(table)
    assert found.critical == pytest.approx(q * (methods * (methods + 1) / (6 * 8)) ** 0.5, rel=3e-4)  # q has 4 digits
    columns = [[own[f"m{j}"] for own in table.values()] for j in range(methods)]
    assert found.p == pytest.approx(friedmanchisquare(*columns).pvalue)


def test_friedmans_statistic_is_that_of_average_ranks() -> None:
    table = {f"d{i}": {f"m{j}": random.Random(i * 100 + j).random() + 0.1 * j for j in range(4)} for i in range(7)}
    placed = ranks(table).values()
    statistic = 12 * 7 / (4 * 5) * (sum(rank**2 for rank in placed) - 4 * 5**2 / 4)  # Demsar 2006, section 3.2.2
    assert friedman(table).p == pytest.approx(chi2.sf(statistic, 3))


def test_a_simulated_null_is_called_different_in_at_most_five_percent_and_a_difference_is_found() -> None:
    draw = np.random.default_rng(0)

    def called(gain: float) -> int:
        scores = draw.normal(size=(1000, 10, 4)) + gain * np.arange(4)
        tables = [{str(d): dict(zip("abcd", own, strict=True)) for d, own in enumerate(one)} for one in scores]
        return sum("ranks better than" in friedman(table).words for table in tables)

    assert called(0.0) <= 50
    assert called(1.0) >= 950


def test_words_say_no_evidence_or_who_ranks_better() -> None:
    same = {f"d{i}": {name: float((i + k) % 3) for k, name in enumerate("abc")} for i in range(6)}
    assert friedman(same).words.startswith("No evidence that ranks differ")
    clear = {f"d{i}": {"a": 3.0, "b": 2.0, "c": 1.0} for i in range(8)}
    assert "a ranks better than c" in friedman(clear).words


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="three methods"):
        friedman({"d": {"a": 1.0, "b": 2.0}, "e": {"a": 1.0, "b": 2.0}})
