"""The file that a search ends in, with the sections of the shipped defaults; read again by `--tuned`.

    # Chosen by `msam sweep` on digits6 ...
    [run.optimizer]
    lr = 0.05

    [late.sam]
    rho = 0.2

Every method that was tuned has a section, if an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import tomli_w

from msam_bench.config.run import Fusion
from msam_bench.names import nearest
from msam_bench.registry import methods

FUSIONS = get_args(Fusion)


def text(comment: Iterable[str], fusion: str, lr: float, chosen: dict[str, dict[str, Any]]) -> str:
    """The file.

    Args:
        comment: lines for its head.
        fusion: late or early.
        lr: learning rate of every method that has none of its own.
        chosen: method -> what was chosen for it; a learning rate of its own under `optimizer`.
    """
    head = "".join(f"# {line}\n" for line in comment)
    return head + tomli_w.dumps({"run": {"optimizer": {"lr": lr}}, fusion: chosen})


def checked(content: dict[str, Any], path: Path, fusion: str) -> dict[str, Any]:
    """The content of such a file, if it has settings for that fusion; their names and values are checked with a run's.

    Raises:
        ValueError: something else stands there, or nothing for the fusion.
    """
    for key, inner in content.items():
        if key not in ("run", *FUSIONS):
            raise ValueError(f"{path} has {key!r}, expected run, late and early: name a file that `msam sweep` wrote.")
        if not isinstance(inner, dict):
            raise ValueError(f"Expected a section [{key}] in {path}, found {inner!r}.")
    if fusion not in content:
        raise ValueError(f"Nothing in {path} is for {fusion} fusion: sweep with --fusion {fusion}.")
    for method, section in content[fusion].items():
        if ":" not in method and method not in methods():
            raise ValueError(f"Unknown method {method!r} in {path}: {nearest(method, methods())}.")
        if not isinstance(section, dict) or not isinstance(section.get("optimizer", {}), dict):
            raise ValueError(f"Expected sections of settings for {method!r} in {path}, found {section!r}.")
    return content
