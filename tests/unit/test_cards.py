"""Every rival's page ends in a card: its paper, its code, both forms, and what it was checked against."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import msam
from msam import Method

ROOT = Path(__file__).parents[2]
BASELINES = {"Joint", "Unimodal", "MSAM", "Auxiliary", "FeatureDropout"}
"""Methods that are nobody else's."""
METHODS = {
    name: method
    for name in msam.__all__
    if isinstance(method := getattr(msam, name), type) and issubclass(method, Method) and method is not Method
}


def card(name: str) -> dict[str, str]:
    """The rows of a page's last table."""
    page = (ROOT / f"docs/methods/{name.lower()}.md").read_text(encoding="utf-8")
    _, _, table = page.partition("\n## Reproduction\n")
    rows = [
        line.strip("| ").split(" | ", 1) for line in table.splitlines() if line.startswith("| ") and " | " in line[2:]
    ]
    return {key.strip(): value.strip() for key, value in (row for row in rows if len(row) == 2)}


@pytest.mark.parametrize("name", sorted(METHODS.keys() - BASELINES))
def test_pages_end_in_a_reproduction_card(name: str) -> None:
    rows = card(name)
    moded = "faithful" in inspect.signature(METHODS[name]).parameters
    forms = {'`faithful="paper"`, the default', '`faithful="code"`', "they differ", "in both"} if moded else {"here"}
    rows["here"] = rows.get("here") or rows.get("they differ, and here", "")
    assert {"paper", "code", "checked against"} | forms <= rows.keys()
    assert moded or rows["here"]
    named = [word.strip("`.,:;()") for word in rows["checked against"].split() if "tests/" in word]
    assert named
    assert all((ROOT / path).is_file() for path in named)


def test_the_index_names_every_method_that_takes_both_forms() -> None:
    index = (ROOT / "docs/methods/index.md").read_text(encoding="utf-8")
    table = index[index.index("## Paper and code") : index.index("## All methods")]
    moded = {name.lower() for name, m in METHODS.items() if "faithful" in inspect.signature(m).parameters}
    assert {name for name in moded if f"{{doc}}`{name}`" not in table} == set()
