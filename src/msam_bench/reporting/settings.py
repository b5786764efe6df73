"""What the runs were made with: settings that methods share, settings in which they differ, versions and machine.

shared, differing = settings(groups)
shared["optimizer.lr"], differing["method.name"]["sam"], machine(groups)["torch"]
"""

import json
from collections.abc import Mapping
from typing import Any

from msam_bench.reporting.run_summary import Groups


def settings(groups: Groups) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Splits the configuration into settings that all methods share and those that differ, by method."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, runs in groups.items():
        for run in runs:
            for key, value in flat(run.config).items():
                found.setdefault(key, {}).setdefault(name, set()).add(value)
    found.pop("seed", None)
    texts = {key: {n: ", ".join(sorted(own)) for n, own in by_name.items()} for key, by_name in found.items()}
    same = {k for k, by_name in texts.items() if len(by_name) == len(groups) and len(set(by_name.values())) == 1}
    return {k: next(iter(texts[k].values())) for k in texts if k in same}, {k: texts[k] for k in texts if k not in same}


def machine(groups: Groups) -> dict[str, str]:
    """Gives the environment of the runs, every value where runs differ."""
    found: dict[str, dict[str, None]] = {}
    for run in (run for runs in groups.values() for run in runs):
        for key, value in flat(run.environment).items():
            found.setdefault(key, {})[value] = None
    return {key: "; ".join([*values][:5]) + "; ..." * (len(values) > 5) for key, values in found.items()}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Writes a nested mapping as dotted keys and text."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found
