"""How near each engine has to come, and the table of the documentation that says so.

python tests/conformance/table.py FOLDER        # writes what `run.py FOLDER full` found into docs/engines.md
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from conformance.cases import CASES, LITERAL

PAGE = Path(__file__).parents[2] / "docs/engines.md"
BEGIN, END = "<!-- conformance: written by tests/conformance/table.py -->\n", "<!-- conformance: end -->\n"

EXACT = 1e-6
"""Largest difference of a weight after twenty steps, of weights of order one that move by a quarter and more.

Both sides round alike, so that one process differs by nothing; gloo may add ranks up in another order, which touches
float32's last bit, and twenty steps of momentum 0.9 carry it on.
"""
REFUSALS = {
    ("accelerate", "fp16"): "Accelerate has no fp16 on this device and would train in float32; use "
    "mixed_precision='bf16'.",
    ("transformers", "fp16"): "The Trainer has no fp16 on this device and would train in float32; use bf16=True.",
}
NAMES = {
    "torch": "raw torch",
    "fabric": "Fabric",
    "lightning": "`msam.integrations.lightning`",
    "accelerate": "`msam.integrations.accelerate`",
    "transformers": "`msam.integrations.transformers`",
}


def table(found: dict[int, dict[str, Any]]) -> str:
    """Markdown: engine and ranks by precision; in brackets the largest difference of those that meet it.

    Args:
        found: number of ranks -> engine -> case -> what was found on the first rank.
    """
    lines = ["| engine | ranks | float32 | bf16 | fp16 with GradScaler |", "|---|---|---|---|---|"]
    for engine, title in NAMES.items():
        for ranks, engines in found.items():
            cells = [_cell(engines[engine], precision) for precision in ("float32", "bf16", "fp16")]
            lines.append(f"| {title} | {ranks} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(cases: dict[str, Any], precision: str) -> str:
    mine = [result for name, result in cases.items() if name.split("/")[2] == precision]
    if mine and all("refusal" in result for result in mine):
        return "refused"
    differences = [result.get("difference", math.inf) for result in mine]
    met = [difference for difference in differences if difference <= EXACT]
    parts = [f"{len(met)} within {EXACT:g} ({max(met):.1g})"] if met else []
    missed = len(mine) - len(met)
    return ", ".join(parts + [f"**{missed} missed**"] * (missed > 0))


def expected() -> dict[int, dict[str, Any]]:
    """What the full crossing finds where every engine does what it should, without the differences."""
    outcomes: dict[str, dict[str, Any]] = {}
    for engine in NAMES:
        mine = [case for case in CASES if engine != "torch" or case.method in LITERAL]
        refused = {case.name: REFUSALS.get((engine, case.precision)) for case in mine}
        outcomes[engine] = {name: {"refusal": said} if said else {"difference": 0.0} for name, said in refused.items()}
    return {1: outcomes, 2: outcomes}


def read(folder: Path) -> dict[int, dict[str, Any]]:
    """What `run.py` left, by number of ranks."""
    return {ranks: json.loads((folder / f"{ranks}-0.json").read_text()) for ranks in (1, 2)}


def written() -> str:
    """The table as the documentation has it."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def main(folder: Path) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(read(folder))}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
