"""What a reader must know of the runs behind a comparison: missing seeds, settings, failures seen in training.

notes_on(groups, values, "joint", "joint")   # seeds that were left out
"""

from collections.abc import Mapping

from msam_bench.analysis.run_summary import Groups, RunSummary
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.settings import settings
from msam_bench.training.monitor import TITLES


def notes_on(groups: Groups, values: Mapping[str, Mapping[int, float]], wanted: str, reference: str) -> list[str]:
    """Says what a reader must know before trusting the table."""
    notes = []
    if reference != wanted:
        notes.append(f"No method is called {wanted}, so that the first one, {reference}, is the reference.")
    shared: dict[tuple[int, int], list[str]] = {}
    for name in groups:
        common = len(values[name].keys() & values[reference].keys())
        if not common:
            notes.append(f"{name} shares no seed with {reference} and is not compared with it.")
        elif left_out := len(values[name].keys() ^ values[reference].keys()):
            shared.setdefault((common, left_out), []).append(name)
    for (common, left_out), names in shared.items():
        several = f"{join_names(names)} each share {common} seeds with {reference}"
        share = several if len(names) > 1 else f"{names[0]} and {reference} share {common} seeds"
        notes.append(f"{share}; {left_out} that only one of them has are left out.")
    return notes


def watched(groups: Groups) -> list[str]:
    """Says which failure signatures were seen in training, and in how many runs."""
    notes = []
    for key, title in TITLES.items():
        seen = {name: sum(_shows(run, key) for run in runs) for name, runs in groups.items()}
        counts = [f"{name} in {count} of {len(groups[name])}" for name, count in seen.items() if count]
        if counts:
            notes.append(f"Seen in training: {title} ({join_names(counts)} runs).")
    return notes


def _shows(run: RunSummary, key: str) -> bool:
    return any(name.partition("/")[0] == key for name in getattr(run, "warnings", {}))


def settings_note(groups: Groups) -> list[str]:
    """Says what the methods were given alike, if not epochs, and which settings differ apart from the method itself."""
    notes = []
    if settings(groups)[0].get("budget") == "gradients":
        notes.append("Every method was given the same number of gradients, not of epochs.")
    differing = [key for key in settings(groups)[1] if key != "method" and not key.startswith("method.")]
    if differing:
        notes.append(f"Besides the method, these settings differ between methods: {join_names(differing)}.")
    return notes
