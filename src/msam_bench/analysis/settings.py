"""Settings and environment of runs: what methods share, where they differ, versions and machine.

shared, differing = settings(groups)
shared["optimizer.lr"], differing["method.name"]["sam"], machine(groups)["torch"]
"""

import json
from collections.abc import Mapping
from typing import Any

from msam_bench.analysis.run_summary import Groups


def settings(groups: Groups) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Splits the configuration into settings that all methods share and those that differ, by method."""
    values: dict[str, dict[str, set[str]]] = {}
    for name, runs in groups.items():
        for run in runs:
            for key, value in flat(run.config).items():
                values.setdefault(key, {}).setdefault(name, set()).add(value)
    values.pop("seed", None)
    texts = {
        key: {n: ", ".join(sorted(texts_of)) for n, texts_of in by_name.items()} for key, by_name in values.items()
    }
    same = {k for k, by_name in texts.items() if len(by_name) == len(groups) and len(set(by_name.values())) == 1}
    return {k: next(iter(texts[k].values())) for k in texts if k in same}, {k: texts[k] for k in texts if k not in same}


def machine(groups: Groups) -> dict[str, str]:
    """Gives the environment of the runs, every value where runs differ."""
    values: dict[str, dict[str, None]] = {}
    for run in (run for runs in groups.values() for run in runs):
        for key, value in flat(run.environment).items():
            values.setdefault(key, {})[value] = None
    return {key: "; ".join([*values][:5]) + "; ..." * (len(values) > 5) for key, values in values.items()}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Writes a nested mapping as dotted keys and text."""
    entries: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            entries |= flat(value, f"{prefix}{key}.")
        else:
            entries[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return entries
