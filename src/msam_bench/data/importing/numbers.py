"""Numbers as people write them: missing values, decimal commas, thousands, units; and cells that are none.

    column = read_numbers(["1,5", "NA", "0,25"])
    column.values                       # [1.5, nan, 0.25]
    column.missing, column.faulty       # rows: [1], []
    column.is_numeric                   # one bad cell does not turn a column of numbers into texts

A sign that can be read two ways ("1,234") is read as the other cells of its table are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from typing import Any

from msam_bench.data.importing.options import DecimalSign

TEXT_MARKERS = frozenset({"", "na", "n/a", "#n/a", "n.a.", "nan", "null", "<na>", "nat"})
"""Cells of any column that mean a missing value, in lower case."""

MARKERS = TEXT_MARKERS | {"?", "-", "--", ".", "none", "nil", "missing", "unknown", "#value!", "#div/0!", "undefined"}
"""Cells among numbers that mean a missing value, in lower case."""

_SPACES = "'’ \u00a0\u202f"
_POINT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_GROUPED_POINT = re.compile(rf"[+-]?[1-9]\d{{0,2}}(?P<s>[,{_SPACES}])\d{{3}}(?:(?P=s)\d{{3}})*(?:\.\d*)?")
_GROUPED_COMMA = re.compile(rf"[+-]?[1-9]\d{{0,2}}(?P<s>[.{_SPACES}])\d{{3}}(?:(?P=s)\d{{3}})*(?:,\d*)?")
_UNIT = re.compile(r"(?P<currency>[$€£¥]?)\s*(?P<number>[+-]?[\d.,].*?)\s*(?P<unit>%|‰|°?[A-Za-zµ/]{1,4}|[$€£¥])?")
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_LARGEST = 3.4e38
"""Of float32, in which numbers are stored."""


@dataclass(frozen=True)
class DecimalHint:
    """How the numbers of a table are written.

    Args:
        evidence: The decimal sign that cells of the table prove, or that the user states.
        fallback: The one to assume where a comma could be either; None if nothing speaks for one.
    """

    evidence: DecimalSign | None = None
    fallback: DecimalSign | None = "point"


@dataclass(frozen=True)
class NumberColumn:
    """A column read as numbers.

    Args:
        values: One a row, NaN where there is none.
        missing: Rows whose cell means a missing value.
        faulty: Rows whose cell is neither a number nor a missing value.
        style: How the numbers are written, if not plainly.
        ambiguous: A row whose comma could be a decimal sign or separate thousands.
        marker: Whether all faulty cells are the same text, beside different numbers.
    """

    values: list[float]
    missing: list[int] = field(default_factory=list)
    faulty: list[int] = field(default_factory=list)
    style: str = ""
    ambiguous: int | None = None
    marker: bool = False

    @property
    def count(self) -> int:
        """How many cells are numbers."""
        return len(self.values) - len(self.missing) - len(self.faulty)

    @property
    def is_numeric(self) -> bool:
        """Whether at least half of what is there are numbers, or all but one repeated text."""
        return self.count > 0 and (self.count >= len(self.faulty) or self.marker)


def read_numbers(cells: Sequence[Any], hint: DecimalHint = DecimalHint(), na: Iterable[str] = ()) -> NumberColumn:
    """Reads a column of numbers or texts as numbers, as far as it is made of them."""
    plain = None if hint.evidence == "comma" or na else _read_plain(cells)
    if plain is not None:
        return NumberColumn(plain)
    extra = frozenset(marker.strip().lower() for marker in na)
    markers = MARKERS | extra
    missing = [row for row, cell in enumerate(cells) if is_missing(cell, markers)]
    gone = set(missing)
    texts = {row: str(cell).strip() for row, cell in enumerate(cells) if row not in gone}
    if texts and {text.lower() for text in texts.values()} <= set(_WORDS):
        words = [_WORDS[texts[row].lower()] if row in texts else nan for row in range(len(cells))]
        return NumberColumn(words, missing, style="yes or true as 1")
    texts, unit = _without_unit(texts)
    sign, ambiguous = _sign_of({row: text for row, text in texts.items() if isinstance(cells[row], str)}, hint)
    values, faulty = [nan] * len(cells), []
    for row, text in texts.items():
        number = parse(text, sign) if isinstance(cells[row], str) else _float(cells[row])
        if number is None:
            faulty.append(row)
        else:
            values[row] = number
    style = ", ".join(part for part in ("decimal commas" if sign == "comma" else "", unit) if part)
    others = {texts[row].lower() for row in faulty}
    marker = len(others) == 1 and len({value for value in values if not isnan(value)}) > 2
    return NumberColumn(values, missing, faulty, style, ambiguous, marker)


def is_missing(cell: Any, markers: frozenset[str] = TEXT_MARKERS) -> bool:
    """Whether a cell means a missing value."""
    if cell is None or (isinstance(cell, float) and isnan(cell)):
        return True
    text = str(cell).strip().lower()
    return text in markers


def parse(text: str, sign: DecimalSign = "point") -> float | None:
    """The number that a text is, with that decimal sign; None if it is none that can be stored.

    Quotes around it do not matter; in parentheses it is negative, as accountants write it.
    """
    mark, plain, grouped = (".", _POINT, _GROUPED_POINT) if sign == "point" else (",", _COMMA, _GROUPED_COMMA)
    text = text.replace("−", "-")
    if len(text) > 2 and text[0] + text[-1] in ("''", '""', "()"):
        inner = parse(text[1:-1].strip(), sign)
        return -inner if inner is not None and text[0] == "(" else inner
    if match := grouped.fullmatch(text):
        text = text.replace(match["s"], "")
    elif not plain.fullmatch(text):
        return None
    number = float(text.replace(mark, "."))
    return number if abs(number) < _LARGEST else None


def decimal_evidence(cells: Iterable[Any]) -> DecimalSign | None:
    """The decimal sign that some cells prove: one that reads a cell which the other does not."""
    for cell in cells:
        text = str(cell).strip()
        point, comma = parse(text, "point"), parse(text, "comma")
        if (point is None) != (comma is None):
            return "comma" if point is None else "point"
    return None


def _read_plain(cells: Sequence[Any]) -> list[float] | None:
    """Cells that are finite numbers as Python writes them; None if one is not."""
    try:
        values = [float(cell) for cell in cells]
    except (TypeError, ValueError):
        return None
    return values if all(isfinite(value) and abs(value) < _LARGEST for value in values) else None


def _float(cell: Any) -> float | None:
    """A cell that is a number already."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if isfinite(value) and abs(value) < _LARGEST else None


def _sign_of(texts: dict[int, str], hint: DecimalHint) -> tuple[DecimalSign, int | None]:
    """The decimal sign of a column, and a row that leaves it open."""
    counts: dict[DecimalSign, int] = {"point": 0, "comma": 0}
    open_row = None
    for row, text in texts.items():
        point, comma = parse(text, "point"), parse(text, "comma")
        if (point is None) != (comma is None):
            counts["comma" if point is None else "point"] += 1
        elif point != comma:
            open_row = row
    if counts["comma"] != counts["point"]:
        return ("comma" if counts["comma"] > counts["point"] else "point"), None
    if open_row is None:
        return "point", None
    if hint.evidence is not None:
        return hint.evidence, None
    if "," not in texts[open_row]:
        return "point", None
    return hint.fallback or "point", open_row if hint.fallback is None else None


def _without_unit(texts: dict[int, str]) -> tuple[dict[int, str], str]:
    """Cells without the unit that all of them carry, and that unit."""
    matches = [(_UNIT.fullmatch(text)) for text in texts.values()]
    units = {(match["currency"], match["unit"] or "") for match in matches if match}
    if not texts or len(units) != 1 or None in matches or units == {("", "")}:
        return texts, ""
    (unit,) = units
    bare = {row: match["number"] for row, match in zip(texts, matches, strict=True) if match}
    return bare, f"in {''.join(unit)}"
