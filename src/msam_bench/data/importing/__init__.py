"""The user's own data: from arrays, a table or a folder to a plan that `building.build` turns into a prepared store.

plan = plan_import([Path("folder")], "mine", ImportOptions(label=("emotion",)))
for note in plan.notes: ...                         # what was inferred, and what overrides it
for text in plan.warnings: ...                      # what may make the result worthless
plan.build(Path("data/mine"))
"""

from __future__ import annotations

from msam_bench.data.importing.options import ImportOptions, Note
from msam_bench.data.importing.planning import ImportPlan, plan_import

__all__ = ["ImportOptions", "ImportPlan", "Note", "plan_import"]
