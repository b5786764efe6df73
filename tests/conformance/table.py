"""How near each engine has to come, and the table of the documentation that says so.

python tests/conformance/table.py FOLDER        # writes what `run.py FOLDER full` found into docs/engines.md
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from conformance.cases import CASES, LITERAL

PAGE = Path(__file__).parents[2] / "docs/engines.md"
BEGIN, END = "<!-- conformance: written by tests/conformance/table.py -->\n", "<!-- conformance: end -->\n"

EXACT = 1e-6
"""Of weights of order one that move by a quarter and more: the reference sums SAM's norm in another order, and gloo
adds ranks up in another; twenty steps of momentum 0.9 carry a float32's rounding on."""
ROUNDED = {("lightning", "bf16"): 0.05, ("lightning", "fp16"): 1e-3}
ROUNDED |= {(engine, "bf16"): 0.05 for engine in ("accelerate", "transformers")}
"""AGM differentiates by the logits and by several coalitions' passes. Lightning casts a weight anew in each of them,
where raw torch casts once and adds their gradients up in 16 bits; Accelerate returns logits in float32, where raw torch
rounds AGM's slope to 16 bits. Both are the finer computation; the rounding of bf16 (0.4 %) is carried on by AGM's
running means."""
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


TIPPED = 1e-3
"""SAM in 16 bits, whose reference adds up the norm in another order: a last bit of float32 tips the rounding of an
activation to 16 bits at the perturbed weights. All engines are off by the same amount."""


def tolerance(engine: str, case: str) -> float:
    """Largest difference of a weight after twenty steps, for a case by its name."""
    method, _, precision, *_ = case.split("/")
    if method == "agm":
        return ROUNDED.get((engine, precision), EXACT)
    return TIPPED if method == "sam" and precision != "float32" else EXACT


def table(found: dict[int, dict[str, Any]]) -> str:
    """Markdown: engine and ranks by precision; in brackets the largest difference among those of one tolerance.

    Args:
        found: number of ranks -> engine -> case -> what was found on the first rank.
    """
    lines = ["| engine | ranks | float32 | bf16 | fp16 with GradScaler |", "|---|---|---|---|---|"]
    for engine, title in NAMES.items():
        for ranks, engines in found.items():
            cells = [_cell(engine, engines[engine], precision) for precision in ("float32", "bf16", "fp16")]
            lines.append(f"| {title} | {ranks} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(engine: str, cases: dict[str, Any], precision: str) -> str:
    mine = {name: result for name, result in cases.items() if name.split("/")[2] == precision}
    if mine and all("refusal" in result for result in mine.values()):
        return "refused"
    met: dict[float, list[float]] = defaultdict(list)
    for name, result in mine.items():
        if result.get("difference", math.inf) <= tolerance(engine, name):
            met[tolerance(engine, name)].append(result["difference"])
    missed = len(mine) - sum(map(len, met.values()))
    parts = [f"{len(seen)} within {limit:g} ({max(seen):.1g})" for limit, seen in sorted(met.items())]
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
