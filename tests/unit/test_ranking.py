"""Average ranks, Friedman's test and Nemenyi's critical distance."""

from __future__ import annotations

import random

import pytest
from scipy.stats import friedmanchisquare

from msam_bench.ranking import friedman, ranks


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


def test_words_say_no_evidence_or_who_ranks_better() -> None:
    same = {f"d{i}": {name: float((i + k) % 3) for k, name in enumerate("abc")} for i in range(6)}
    assert friedman(same).words.startswith("No evidence that ranks differ")
    clear = {f"d{i}": {"a": 3.0, "b": 2.0, "c": 1.0} for i in range(8)}
    assert "a ranks better than c" in friedman(clear).words


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="three methods"):
        friedman({"d": {"a": 1.0, "b": 2.0}, "e": {"a": 1.0, "b": 2.0}})
